// Package repository keeps organizations, vaults and relationships in a store.
//
// A record and what finds it by another key are written in one write set, which applies as a
// whole or not at all. Changes are conditional on what they were decided on: one that loses
// to another writer is decided anew, or is [ErrStale] if the caller named a version.
//
// This package knows how data is stored, and what holds of it at any moment. Packages control
// and engine know who may change it, and what a relationship means.
package repository
