package host

// OnPhase has f told where reloads are.
func (h *Host) OnPhase(f func(phase string)) { h.phase = f }
