package host

// OnPhase calls f with each phase of a reload.
func (h *Host) OnPhase(f func(phase string)) { h.phase = f }
