//go:build unix && !linux

package carrier

func holders(string) string { return "" }
