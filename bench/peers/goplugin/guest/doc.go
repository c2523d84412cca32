//go:build !wasip1

// The guest of knqyf263/go-plugin, which exists as a module only.
package main

func main() {}
