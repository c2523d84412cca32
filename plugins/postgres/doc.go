// Package postgres is a backend on a PostgreSQL server: a store in a table, over
// github.com/jackc/pgx.
//
// Writers on all hosts take turns: each group of writes takes the store's lock, is checked against
// the state that the previous group left, and commits at greater versions. Write sets that wait while
// another group commits share the next transaction. Reads are single statements, so that each sees
// one state; the pages of a scan share a transaction that is kept for them.
//
// What belongs here is the engine's client behind [storage.Backend], and [Init], which creates
// the tables. The carriers run it, in the host's process or in one of its own.
package postgres
