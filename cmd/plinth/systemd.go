package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/storage"
)

// manager notifies the service manager that started this program, by the protocol of systemd.
// Without a listening manager it does nothing.
type manager struct{ log *slog.Logger }

func (m manager) tell(state ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(state, "\n")); err != nil {
		m.log.Warn("the service manager cannot be told", "state", state[0], "error", err)
	}
}

// reloading says that a reload begins, for services of Type=notify-reload.
func (m manager) reloading() { m.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec()) }

// ready says that everything is in force.
func (m manager) ready(h *plinth.Host) {
	n, _ := h.Generation()
	m.tell(daemon.SdNotifyReady, fmt.Sprintf("STATUS=generation %d of the configuration is in force", n))
}

func (m manager) stopping() { m.tell(daemon.SdNotifyStopping) }

// watchdog says that the program is alive as often as the manager wants, until ctx ends, for
// as long as the host says so itself.
func (m manager) watchdog(ctx context.Context, h *plinth.Host) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	ticker := time.NewTicker(every / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if h.Health(ctx, storage.Liveness).Status != storage.Unhealthy {
				m.tell(daemon.SdNotifyWatchdog)
			}
		}
	}
}

// activated returns the sockets that the manager has opened for this program, by their names.
func activated() (map[string]net.Listener, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	all := map[string]net.Listener{}
	for name, listeners := range named {
		switch {
		case name != "http" && name != "grpc" && name != "probes":
			return nil, fmt.Errorf("sockets of the service manager: one is named %q: set FileDescriptorName= to http, grpc or probes in its unit", name)
		case len(listeners) != 1:
			return nil, fmt.Errorf("sockets of the service manager: %d are named %q, one is allowed", len(listeners), name)
		case listeners[0] == nil:
			return nil, fmt.Errorf("sockets of the service manager: %s does not listen for connections", name)
		}
		all[name] = listeners[0]
	}
	return all, nil
}
