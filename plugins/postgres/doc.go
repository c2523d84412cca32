// Package postgres is a backend on a PostgreSQL server: a store in a table, over
// github.com/jackc/pgx.
//
// Writers take turns, on all hosts: each group of writes takes the store's lock, is judged on what the
// one before it left, and commits at versions greater than all before. Write sets that wait
// while another group commits share the next transaction. Reads are single statements, so
// that each is one state; the pages of a scan go on in a transaction that is kept for them.
//
// What belongs here is the engine's client behind [storage.Backend], and [Init], which
// creates the tables. How it is run, in the host's process or in one of its own, is the
// carriers' business.
package postgres
