package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v4"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
)

// root is the source, from here.
const root = "../../"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(root + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parses reports whether the program understands arguments.
func parses(t *testing.T, args []string) {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("plinth"), kong.Vars{"default_addr": defaultAddr}, kong.Bind(env{stdin: strings.NewReader("")}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Errorf("plinth %s: %v", strings.Join(args, " "), err)
	}
}

// checks has plinth check look at a configuration of a machine that has these folders below
// a folder of the test's.
func checks(t *testing.T, text string, folders ...string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range folders {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, folder, filepath.Join(dir, folder))
	}
	if tls := filepath.Join(dir, "/etc/plinth/tls"); slices.Contains(folders, "/etc/plinth/tls") {
		issue(t, tls, "tls", nil, nil)
		for was, is := range map[string]string{"tls.pem": "tls.crt", "tls-key.pem": "tls.key"} {
			if err := os.Rename(filepath.Join(tls, was), filepath.Join(tls, is)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "/etc/plinth/token/token"), []byte("s3cret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "plinth.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, "check", file)
	cfg, err := plinth.Load(file, backends()...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// end is how long the end of serving takes at most.
func end(cfg *config.Config) time.Duration {
	return time.Duration(cfg.Server.ShutdownDelay) + time.Duration(cfg.Server.ShutdownTimeout) + telemetryFlush
}

// The unit for systemd starts the program as it is, with a configuration that is right.
func TestDeploySystemd(t *testing.T) {
	unit := read(t, "deploy/systemd/plinth.service")
	set := map[string][]string{}
	for line := range strings.Lines(unit) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			set[name] = append(set[name], value)
		}
	}
	cfg := checks(t, read(t, "deploy/plinth.yaml"), "/var/lib/plinth")
	args := strings.Fields(set["ExecStart"][0])
	parses(t, args[1:])
	if !slices.Contains(args, "/etc/plinth/plinth.yaml") || set["ConfigurationDirectory"][0] != "plinth" || set["StateDirectory"][0] != "plinth" {
		t.Errorf("its folders are others: %q", args)
	}
	if set["Type"][0] != "notify" || !strings.Contains(set["ExecReload"][0], "-HUP") {
		t.Errorf("its type is %s, it is reloaded by %s", set["Type"], set["ExecReload"])
	}
	if stop, err := time.ParseDuration(set["TimeoutStopSec"][0]); err != nil || stop <= end(cfg) {
		t.Errorf("it is killed after %s, its end takes %s (%v)", stop, end(cfg), err)
	}
	if _, bad := set["MemoryDenyWriteExecute"]; bad {
		t.Error("modules could not be compiled")
	}
	if verify, err := exec.LookPath("systemd-analyze"); err == nil {
		file := filepath.Join(t.TempDir(), "plinth.service")
		here := strings.ReplaceAll(unit, args[0], os.Args[0]) // a program that there is
		if err := os.WriteFile(file, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(verify, "verify", "--man=no", file).CombinedOutput(); err != nil || bytes.Contains(out, []byte("plinth.service:")) {
			t.Errorf("systemd-analyze: %v\n%s", err, out)
		}
	}
}

// manifest is as much of Kubernetes' objects as this test looks at.
type manifest struct {
	Kind string            `json:"kind"`
	Data map[string]string `json:"data"`
	Spec struct {
		Ports    []struct{ TargetPort string }
		Template struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct {
				TerminationGracePeriodSeconds int
				Containers                    []container
				Volumes                       []struct{ Name string }
			}
		}
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } }
	} `json:"spec"`
}

type container struct {
	Args  []string
	Ports []struct {
		Name          string
		ContainerPort int
	}
	StartupProbe, ReadinessProbe, LivenessProbe struct{ HTTPGet struct{ Path, Port string } }
	VolumeMounts                                []struct{ Name, MountPath string }
	Env                                         []struct{ Name, Value string }
}

// manifests are the documents of a file, by kind.
func manifests(t *testing.T, path string) map[string]manifest {
	t.Helper()
	all := map[string]manifest{}
	for _, doc := range strings.Split(read(t, path), "\n---\n") {
		var value any
		if err := yaml.Unmarshal([]byte(doc), &value); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var m manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[m.Kind] = m
	}
	return all
}

// The manifests start the program as it is, with a configuration that is right, and ask for
// probes that it has, where it has them.
func TestDeployKubernetes(t *testing.T) {
	all := manifests(t, "deploy/kubernetes/plinth.yaml")
	cfg := checks(t, all["ConfigMap"].Data["plinth.yaml"], "/var/lib/plinth", "/etc/plinth/tls", "/etc/plinth/token")
	pod := all["StatefulSet"].Spec.Template
	c := pod.Spec.Containers[0]
	parses(t, c.Args)
	ports := map[string]int{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	listens := map[string]string{"https": cfg.Server.HTTP, "grpcs": cfg.Server.GRPC, "probes": cfg.Server.Probes}
	for name, address := range listens {
		raw, _ := json.Marshal(ports[name])
		if !strings.HasSuffix(address, ":"+string(raw)) {
			t.Errorf("port %s is %d, the configuration listens on %q", name, ports[name], address)
		}
	}
	if raw, _ := json.Marshal(ports["probes"]); pod.Metadata.Annotations["prometheus.io/port"] != string(raw) {
		t.Error("Prometheus asks another port than that of the probes")
	}
	for path, probe := range map[string]struct{ Path, Port string }{"/startupz": c.StartupProbe.HTTPGet, "/readyz": c.ReadinessProbe.HTTPGet, "/livez": c.LivenessProbe.HTTPGet} {
		if probe.Path != path || probe.Port != "probes" {
			t.Errorf("the probe of %s asks %+v", path, probe)
		}
	}
	for _, p := range all["Service"].Spec.Ports {
		if ports[p.TargetPort] == 0 {
			t.Errorf("the service leads to the port %q, which there is not", p.TargetPort)
		}
	}
	if grace := time.Duration(pod.Spec.TerminationGracePeriodSeconds) * time.Second; grace <= end(cfg) {
		t.Errorf("the pod is killed after %s, its end takes %s", grace, end(cfg))
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for _, v := range all["StatefulSet"].Spec.VolumeClaimTemplates {
		volumes[v.Metadata.Name] = true
	}
	set := map[string]string{}
	for _, e := range c.Env {
		set[e.Name] = e.Value
	}
	config := ""
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s is mounted from %q, which there is not", m.MountPath, m.Name)
		}
		if m.Name == "config" {
			config = m.MountPath + "/plinth.yaml"
		}
		for _, name := range []string{"TMPDIR", "PLINTH_CACHE_DIR"} { // a volume's root can be written by others
			if strings.HasPrefix(set[name]+"/", m.MountPath+"/") {
				t.Errorf("%s is in the volume %s", name, m.Name)
			}
		}
	}
	// The root file system cannot be written to. A container's /dev/shm has the mode 1777.
	if set["TMPDIR"] != "/dev/shm" || !strings.HasPrefix(set["PLINTH_CACHE_DIR"], "/dev/shm/") {
		t.Errorf("sockets are in %s, compiled code is in %s", set["TMPDIR"], set["PLINTH_CACHE_DIR"])
	}
	if !slices.Contains(c.Args, config) {
		t.Errorf("%q reads another file than the volume's %s", c.Args, config)
	}
}

// The image is built with the toolchain of go.mod, from what there is, for a user that is
// not root, and runs a command that there is.
func TestDockerfile(t *testing.T) {
	file := read(t, "Dockerfile")
	toolchain := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindStringSubmatch(read(t, "go.mod"))
	if !strings.Contains(file, "golang:"+toolchain[1]+" ") {
		t.Errorf("it is built with another toolchain than %s", toolchain[1])
	}
	_, last, _ := strings.Cut(file, "FROM scratch\n")
	for _, want := range []string{"USER 65532:65532", `ENTRYPOINT ["/plinth"]`, "TMPDIR=/tmp PLINTH_CACHE_DIR=/var/cache/plinth"} {
		if !strings.Contains(last, want) {
			t.Errorf("it has no %s", want)
		}
	}
	var cmd []string
	if err := json.Unmarshal([]byte(regexp.MustCompile(`(?m)^CMD (.*)$`).FindStringSubmatch(last)[1]), &cmd); err != nil {
		t.Fatal(err)
	}
	parses(t, cmd)
	for _, m := range regexp.MustCompile(`(?m)^COPY ([^-\n]*) \S+$`).FindAllStringSubmatch(file, -1) {
		for _, name := range strings.Fields(m[1]) {
			if _, err := os.Stat(root + name); err != nil {
				t.Error(err)
			}
		}
	}
	for _, dir := range []string{"/tmp", "/var/lib/plinth", "/var/cache/plinth"} {
		if !strings.Contains(file, "/image"+dir+" ") {
			t.Errorf("the image has no %s", dir)
		}
	}
}

// Workflows run the parts of .ci/run, all of them, and issue templates ask for commands that
// there are.
func TestWorkflowsAndTemplates(t *testing.T) {
	var ci struct {
		Jobs map[string]struct {
			Strategy struct{ Matrix struct{ Part []string } }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/ci.yml")), &ci); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, m := range regexp.MustCompile(`(?m)^make (\S+)$`).FindAllStringSubmatch(read(t, ".ci/run"), -1) {
		parts = append(parts, m[1])
	}
	if !slices.Equal(ci.Jobs["part"].Strategy.Matrix.Part, parts) {
		t.Errorf("the workflow runs %q, .ci/run %q", ci.Jobs["part"].Strategy.Matrix.Part, parts)
	}
	makefile := read(t, "Makefile")
	files, err := filepath.Glob(root + ".github/*/*.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%q, %v", files, err)
	}
	commands := map[string]bool{}
	for _, file := range files {
		text := read(t, strings.TrimPrefix(file, root))
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, m := range regexp.MustCompile(`run: make ([a-z-]+)`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: there is no make %s", file, m[1])
			}
		}
		for _, m := range regexp.MustCompile("`plinth ([^`]+)`").FindAllStringSubmatch(text, -1) {
			commands[m[1]] = true
		}
	}
	for _, m := range regexp.MustCompile("`plinth ([^`]+)`").FindAllStringSubmatch(read(t, "SECURITY.md"), -1) {
		commands[m[1]] = true
	}
	for command := range commands {
		if command == "check --json" {
			command += " FILE"
		}
		parses(t, strings.Fields(command))
	}
	for _, want := range []string{"version --json", "check --json FILE"} {
		if !slices.Contains(slices.Collect(maps.Keys(commands)), want) {
			t.Errorf("no template asks for plinth %s", want)
		}
	}
}
