package ledger

// LookAgain looks the nodes up as the passing of time does.
func (b *Backend) LookAgain() { b.lookAgain() }
