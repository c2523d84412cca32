package supervise

import (
	"strconv"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// State names the state of a plugin.
type State uint8

// The states. Starting leads to Ready, or to the end of the plugin; Ready and
// Degraded to each other, to Restarting and to Failed; Restarting to Ready and to
// Failed; Failed to Ready where it is tried again. All lead to Stopped, which is the last.
const (
	Starting   State = iota // it has not answered yet
	Ready                   // it takes calls
	Degraded                // it takes calls, but something is wrong
	Restarting              // it was lost, and is or will be started again
	Failed                  // it was lost, or could not be started, too often; or its state is lost for good
	Stopped                 // it was closed

	statesEnd
)

var stateNames = [...]string{"starting", "ready", "degraded", "restarting", "failed", "stopped"}

// String returns the name of the state in logs, metrics and health.
func (s State) String() string { return stateNames[min(s, statesEnd-1)] }

// States returns all states, in order.
func States() []State { return []State{Starting, Ready, Degraded, Restarting, Failed, Stopped} }

// Serves reports whether calls are accepted.
func (s State) Serves() bool { return s == Ready || s == Degraded }

// Status holds the state of a plugin with its history.
type Status struct {
	State    State
	Since    time.Time // when the state began
	Reason   string    // why it is not Ready; optional
	Restarts int       // how often it was started again
	LastLoss string    // reason of the last loss; empty if there was none
	RetryAt  time.Time // when it is started again, if Restarting or Failed; zero means never
}

// worst ranks states by how little they serve.
var worst = [...]int{Starting: 3, Ready: 0, Degraded: 1, Restarting: 2, Failed: 4, Stopped: 5}

// Together returns the status of a plugin with several instances: that of the best one,
// but Degraded if others are worse.
func Together(all []Status) Status {
	best, least := 0, 0
	for i := range all {
		if worst[all[i].State] < worst[all[best].State] {
			best = i
		}
		if worst[all[i].State] > worst[all[least].State] {
			least = i
		}
	}
	s := all[best]
	if s.State == Ready && all[least].State != Ready {
		s.State, s.Reason, s.Since = Degraded, all[least].Reason, all[least].Since
	}
	s.Restarts = 0
	for i := range all {
		s.Restarts += all[i].Restarts
		if s.LastLoss == "" {
			s.LastLoss = all[i].LastLoss
		}
	}
	return s
}

// Describe adds the status to the details of a health check.
func (s *Status) Describe(h storage.Health) storage.Health {
	if h.Details == nil {
		h.Details = make(map[string]string, 3)
	}
	h.Details["state"] = s.State.String()
	if s.LastLoss != "" {
		h.Details["restarts"] = strconv.Itoa(s.Restarts)
		h.Details["last_loss"] = s.LastLoss
	}
	if !s.RetryAt.IsZero() {
		h.Details["next_try"] = s.RetryAt.UTC().Format(time.RFC3339)
	}
	return h
}
