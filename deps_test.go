package plinth_test

import (
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const self = "github.com/plinthkv/plinth"

// otelAPI is what the API of OpenTelemetry brings in, and otelSDK what only the
// program may use: the library leaves it to who embeds it where spans and
// metrics go.
var (
	otelAPI = []string{"go.opentelemetry.io/otel", "go.opentelemetry.io/auto/sdk", "github.com/cespare/xxhash", "github.com/go-logr"}
	otelSDK = []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters"}
)

// otelProgram is what a program's telemetry brings in: the SDK, the exporters, and what
// they stand on.
var otelProgram = slices.Concat(otelAPI, grpcRuntime, []string{"go.opentelemetry.io/contrib/otelconf", "go.opentelemetry.io/contrib/propagators", "go.opentelemetry.io/proto/otlp",
	"github.com/cenkalti/backoff", "github.com/google/uuid", "github.com/grpc-ecosystem/grpc-gateway", "go.uber.org/multierr", "go.yaml.in/yaml", "golang.org/x/exp", "google.golang.org/genproto/googleapis/api"})

// grpcRuntime is what gRPC brings in.
var grpcRuntime = []string{"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc", "golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"}

// goPlugin is what go-plugin brings in.
var goPlugin = []string{"github.com/hashicorp", "github.com/fatih/color", "github.com/mattn", "github.com/oklog/run", "github.com/golang/protobuf"}

// pebbleEngine is what Pebble brings in, and prometheus what its page does.
var (
	pebbleEngine = slices.Concat(prometheus, []string{"github.com/cockroachdb", "github.com/DataDog/zstd", "github.com/RaduBerinde", "github.com/getsentry/sentry-go", "github.com/gogo/protobuf",
		"github.com/golang/snappy", "github.com/klauspost/compress", "github.com/kr", "github.com/minio/minlz", "github.com/pkg/errors", "github.com/rogpeppe/go-internal", "golang.org/x/exp",
		"golang.org/x/sys", "golang.org/x/text"})
	prometheus = []string{"github.com/prometheus", "github.com/beorn7/perks", "github.com/cespare/xxhash", "github.com/munnerz/goautoneg", "google.golang.org/protobuf"}
)

// etcdClient is what the client of etcd brings in.
var etcdClient = slices.Concat(grpcRuntime, otelAPI, []string{"go.etcd.io/etcd/api", "go.etcd.io/etcd/client", "github.com/coreos/go-semver", "github.com/coreos/go-systemd", "github.com/golang/protobuf",
	"github.com/grpc-ecosystem/grpc-gateway", "go.uber.org/multierr", "go.uber.org/zap", "google.golang.org/genproto/googleapis/api"})

// pgx is what the client of PostgreSQL brings in.
var pgx = []string{"github.com/jackc", "golang.org/x/sync", "golang.org/x/text"}

// hostMay is what a host may know: the configuration, every carrier, and what those stand on.
var hostMay = slices.Concat([]string{self + "/storage", self + "/abi", self + "/sdk", self + "/client", self + "/config", self + "/wrappers", self + "/internal/carrier", self + "/internal/drain",
	self + "/secret", "golang.org/x/sys", self + "/internal/health", self + "/internal/private", self + "/internal/supervise", "github.com/tetratelabs/wazero", "github.com/knadh/koanf", "github.com/go-viper/mapstructure",
	"github.com/mitchellh", "go.yaml.in/yaml"}, grpcRuntime, goPlugin, otelAPI)

// wrapper is what a wrapper may import, in addition to a library of its own.
func wrapper(own ...string) []string {
	return slices.Concat([]string{self + "/storage", self + "/wrappers"}, otelAPI, own)
}

type wall struct {
	room    string   // a package, by its path in the module; by default the module's own
	goos    string   // by default this system
	allowed []string // prefixes of import paths, in addition to the standard library
	never   []string // prefixes that even an allowed one must not bring in
	why     string
}

// walls says who may know whom. A room may import what its line allows, the
// standard library, and rooms below itself.
var walls = []wall{
	{room: "storage", allowed: []string{self + "/internal/clock", self + "/internal/keyrange", self + "/internal/backoff"}, why: "the contract is on the standard library alone"},
	{room: "internal/backoff", why: "it only waits"},
	{room: "internal/clock", why: "the contract stands on it"},
	{room: "internal/keyrange", why: "it only looks at keys"},
	{room: "abi", allowed: []string{self + "/storage"}, why: "guests compile it"},
	{room: "sdk", allowed: []string{self + "/storage", self + "/abi"}, why: "a third party's go.mod names only us"},
	{room: "sdk/guest", allowed: []string{self + "/storage", self + "/abi", self + "/sdk"}, why: "a third party's go.mod names only us"},
	{room: "sdk/guest", goos: "wasip1", allowed: []string{self + "/storage", self + "/abi", self + "/sdk"}, why: "a third party's go.mod names only us"},
	{room: "plugins/memory", allowed: []string{self + "/storage", self + "/abi", self + "/sdk"}, why: "a plugin is a backend and its engine"},
	{room: "plugins/memory/wasm", goos: "wasip1", allowed: []string{self + "/storage", self + "/abi", self + "/sdk", self + "/plugins/memory"}, why: "a plugin is a backend and its engine"},
	{room: "plugins/ledger", allowed: slices.Concat([]string{self + "/storage", self + "/abi", self + "/sdk", self + "/plugins/ledger", self + "/internal/drain", self + "/secret", "golang.org/x/sys"}, grpcRuntime, otelAPI), never: append([]string{self + "/sdk/process", self + "/sdk/guest", self + "/internal/ledger/ledgertest"}, otelSDK...), why: "a plugin is a backend and its engine"},
	{room: "plugins/ledger/process", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/abi", self + "/sdk", self + "/plugins/ledger", self + "/internal/drain", self + "/otel/plugin"}, goPlugin, otelProgram), why: "a plugin is a backend and its engine, and its program's telemetry"},
	{room: "otel/plugin", allowed: otelProgram, why: "a plugin's program knows no host"},
	{room: "internal/ledger/verify", allowed: slices.Concat([]string{self + "/internal/ledger/ledgerpb"}, grpcRuntime), why: "hashes ask nobody"},
	{room: "internal/ledger/ledgertest", allowed: slices.Concat([]string{self + "/internal/ledger/ledgerpb", self + "/internal/ledger/verify"}, grpcRuntime), why: "the server does not know the client"},
	{room: "config", allowed: []string{self + "/secret", "golang.org/x/sys", self + "/config/internal", "github.com/knadh/koanf", "github.com/go-viper/mapstructure", "github.com/mitchellh", "go.yaml.in/yaml"}, why: "config builds nothing"},
	{room: "config/internal/strictyaml", allowed: []string{"go.yaml.in/yaml", self + "/secret", "golang.org/x/sys"}, why: "it knows YAML, and nothing of what is configured"},
	{room: "wrappers", allowed: append([]string{self + "/storage"}, otelAPI...), never: otelSDK, why: "wrappers know neither host nor configuration"},
	{room: "wrappers/sizelimits", allowed: wrapper(), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/cache", allowed: wrapper("github.com/maypok86/otter", "golang.org/x/sys"), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/readonly", allowed: wrapper(), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/timeout", allowed: wrapper(), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/prefix", allowed: wrapper(), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/faults", allowed: wrapper(), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/retry", allowed: wrapper(), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/batch", allowed: wrapper(), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/buffer", allowed: wrapper("github.com/tidwall/btree"), why: "wrappers do not know each other"},
	{room: "wrappers/circuitbreaker", allowed: wrapper("github.com/failsafe-go", "github.com/bits-and-blooms/bitset"), never: otelSDK, why: "wrappers do not know each other"},
	{room: "wrappers/ratelimit", allowed: wrapper(self + "/internal/tenant"), never: otelSDK, why: "wrappers do not know each other"},
	{room: "internal/tenant", why: "it only looks at keys"},
	{room: "otel", allowed: append([]string{self + "/storage", self + "/wrappers", self + "/internal/tenant"}, otelAPI...), never: otelSDK, why: "the library uses the API alone"},
	{room: "otel/snapshot", allowed: []string{"go.opentelemetry.io/otel", "go.opentelemetry.io/auto/sdk", "github.com/cespare/xxhash", "github.com/go-logr", "github.com/google/uuid", "golang.org/x/sys"}, why: "it reads what the SDK keeps, and knows nothing of hosts"},
	{room: "server", allowed: append([]string{self + "/secret", self + "/storage", self + "/internal/strictjson", "github.com/go-json-experiment/json", self + "/internal/gatekeeper", self + "/internal/budget", self + "/internal/failures", self + "/internal/health", "golang.org/x/"}, otelAPI...), never: otelSDK, why: "the server serves stores, whoever built them"},
	{room: "internal/budget", allowed: []string{self + "/storage"}, why: "it only counts"},
	{room: "internal/failures", allowed: []string{self + "/storage"}, why: "it only logs"},
	{room: "internal/health", allowed: []string{self + "/storage"}, why: "it only asks stores"},
	{room: "internal/gatekeeper", allowed: []string{self + "/secret", "golang.org/x/sys"}, why: "it is the same for every protocol"},
	{room: "internal/abi/answer", allowed: []string{self + "/storage", self + "/abi"}, why: "answers are judged by the contract alone"},
	{room: "internal/abi/abigrpc", allowed: slices.Concat([]string{self + "/storage", self + "/abi"}, grpcRuntime), why: "both sides of gRPC, and no more"},
	{room: "server/grpcserver", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/internal/strictjson", "github.com/go-json-experiment/json", self + "/abi", self + "/server", self + "/internal/gatekeeper", self + "/internal/budget", self + "/internal/failures", self + "/internal/health"}, grpcRuntime, otelAPI), never: otelSDK, why: "the server serves stores, whoever built them"},
	{room: "client", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/abi", self + "/internal/drain"}, grpcRuntime, otelAPI), never: otelSDK, why: "a client is a backend, and knows no server"},
	{room: "plugintest", allowed: slices.Concat([]string{"golang.org/x/sys", self + "/secret", self + "/storage", self + "/abi", self + "/sdk", self + "/internal/carrier", self + "/internal/drain", self + "/internal/supervise", self + "/internal/private", "github.com/tetratelabs/wazero", "pgregory.net/rapid", "github.com/anishathalye/porcupine"}, grpcRuntime, goPlugin, otelAPI), never: otelSDK, why: "it tries plugins, as they are"},
	{room: "internal/abi/frames", allowed: []string{self + "/storage", self + "/abi"}, why: "both sides of a data socket, and no more"},
	{room: "sdk/process", allowed: slices.Concat([]string{self + "/storage", self + "/abi", self + "/sdk"}, grpcRuntime, goPlugin), why: "it is the half of the SDK that sees gRPC, and no host"},
	{room: "plugins/memory/process", allowed: slices.Concat([]string{self + "/storage", self + "/abi", self + "/sdk", self + "/plugins/memory"}, grpcRuntime, goPlugin), why: "a plugin is a backend and its engine"},
	{room: "internal/backup", allowed: []string{self + "/storage", "github.com/klauspost/compress"}, why: "a file knows no store and no protocol"},
	{room: "internal/private", why: "it looks at folders alone"},
	{room: "internal/supervise", allowed: append([]string{self + "/storage"}, otelAPI...), never: otelSDK, why: "it keeps books, whatever the carrier"},
	{room: "identity", why: "an ID knows no store"},
	{room: "secret", allowed: []string{"golang.org/x/sys"}, why: "a secret knows nobody who has one"},
	{room: "secret/keypair", allowed: []string{self + "/secret", "golang.org/x/sys"}, why: "a key is a secret, whoever signs"},
	{room: "auth", allowed: authMay, never: otelSDK, why: "keys are kept in any store, whoever serves it"},
	{room: "internal/loadgen", allowed: []string{self + "/storage", "github.com/HdrHistogram/hdrhistogram-go", "golang.org/x/perf", "github.com/aclements/go-moremath"}, why: "it asks a target, whatever that is"},
	{room: "internal/changetest", allowed: []string{self + "/storage"}, why: "it tries backends that it is handed"},
	{room: "internal/crashtest", allowed: []string{self + "/storage"}, why: "it tries backends that it is handed"},
	{room: "internal/cachetest", allowed: wrapper(self+"/storage/storagetest", self+"/wrappers/cache", self+"/internal/clock", self+"/internal/keyrange", "github.com/maypok86/otter", "pgregory.net/rapid", "github.com/anishathalye/porcupine", "golang.org/x/sys"), why: "it tries caches over a backend that it is handed"},
	{room: "internal/etcdtest", why: "it starts a process, and knows nothing of stores"},
	{room: "internal/durable", allowed: []string{self + "/storage"}, why: "it knows no engine"},
	{room: "internal/quiet", why: "it is initialized before everything else"},
	{room: "internal/sentinel", why: "it only looks at values"},
	{room: "internal/strictjson", allowed: []string{self + "/storage", "github.com/go-json-experiment/json"}, why: "it reads and writes JSON, whoever wants it"},
	{room: "internal/changetail", allowed: []string{self + "/storage"}, why: "it knows no engine"},
	{room: "internal/drain", allowed: []string{self + "/storage"}, why: "it only counts"},
	{room: "internal/carrier", allowed: append([]string{"golang.org/x/sys", self + "/secret", self + "/storage", self + "/abi", self + "/sdk", self + "/internal/supervise"}, otelAPI...), never: append([]string{self + "/sdk/process"}, otelSDK...), why: "what carriers share knows none of them"},
	{room: "internal/carrier/native", allowed: slices.Concat([]string{"golang.org/x/sys", self + "/secret", self + "/storage", self + "/abi", self + "/sdk", self + "/internal/carrier", self + "/internal/drain", self + "/internal/supervise", self + "/internal/private", "github.com/tetratelabs/wazero"}, grpcRuntime, goPlugin, otelAPI), never: otelSDK, why: "a carrier knows the contract and its engine"},
	{room: "internal/carrier/remote", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/abi", self + "/sdk", self + "/client", self + "/internal/drain", self + "/internal/carrier", self + "/internal/supervise"}, grpcRuntime, otelAPI), never: otelSDK, why: "a carrier knows the contract and its engine"},
	{room: "internal/carrier/procs", allowed: slices.Concat([]string{"golang.org/x/sys", self + "/secret", self + "/storage", self + "/abi", self + "/sdk", self + "/internal/carrier", self + "/internal/drain", self + "/internal/supervise", self + "/internal/private"}, grpcRuntime, goPlugin, otelAPI), never: otelSDK, why: "a carrier knows the contract and its engine"},
	{room: "internal/carrier/isolate", allowed: slices.Concat([]string{"golang.org/x/sys", self + "/secret", self + "/storage", self + "/abi", self + "/sdk", self + "/internal/carrier", self + "/internal/drain", self + "/internal/supervise", self + "/internal/private", "github.com/tetratelabs/wazero"}, grpcRuntime, goPlugin, otelAPI), never: otelSDK, why: "a worker is a plugin that runs a module"},
	{room: "internal/carrier/wasmhost", allowed: append([]string{self + "/secret", self + "/storage", self + "/abi", self + "/sdk", self + "/internal/carrier", self + "/internal/supervise", self + "/internal/private", "github.com/tetratelabs/wazero", "golang.org/x/sys"}, otelAPI...), never: otelSDK, why: "a carrier knows the contract and its engine"},
	{room: "internal/abi/abipb", allowed: []string{"google.golang.org/protobuf"}, why: "generated code knows its runtime alone"},
	{room: "internal/ledger/ledgerpb", allowed: []string{"google.golang.org/protobuf"}, why: "generated code knows its runtime alone"},
	{room: "internal/growth", allowed: wrapper(self+"/internal/tenant", self+"/plugins/memory", self+"/sdk", self+"/abi", "github.com/maypok86/otter", "github.com/tidwall/btree", "golang.org/x/sys"), never: otelSDK, why: "it measures the contract, the wrappers and memory"},
	{room: "storage/storagetest", allowed: []string{self + "/storage", "pgregory.net/rapid", "github.com/anishathalye/porcupine"}, why: "a backend's test needs the contract, and nothing that serves it"},
	{room: "plugins/memory/module", why: "it holds bytes"},
	{room: "plugins/pebble", allowed: slices.Concat([]string{self + "/storage", self + "/abi", self + "/sdk"}, pebbleEngine), never: []string{self + "/sdk/process", self + "/sdk/guest", "google.golang.org/grpc"}, why: "a plugin is a backend and its engine"},
	{room: "plugins/pebble/process", allowed: slices.Concat([]string{self + "/storage", self + "/abi", self + "/sdk", self + "/plugins/pebble"}, pebbleEngine, grpcRuntime, goPlugin), why: "a plugin is a backend and its engine"},
	{room: "plugins/etcd", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/abi", self + "/sdk"}, etcdClient), never: append([]string{self + "/sdk/process", self + "/sdk/guest", "go.etcd.io/etcd/server", "go.etcd.io/etcd/pkg"}, otelSDK...), why: "a plugin is a backend and its engine's client"},
	{room: "plugins/etcd/process", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/abi", self + "/sdk", self + "/plugins/etcd"}, etcdClient, goPlugin), why: "a plugin is a backend and its engine's client"},
	{room: "plugins/postgres", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/abi", self + "/sdk"}, pgx), never: []string{self + "/sdk/process", self + "/sdk/guest", "google.golang.org/grpc"}, why: "a plugin is a backend and its engine"},
	{room: "plugins/postgres/process", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/storage", self + "/abi", self + "/sdk", self + "/plugins/postgres"}, pgx, grpcRuntime, goPlugin), why: "a plugin is a backend and its engine"},
	{room: "internal/pgtest", allowed: pgx, why: "it runs a server, and knows nothing of what is stored"},
	{room: "examples/authz/repository", allowed: []string{self + "/storage", self + "/identity"}, why: "what is stored knows no protocol, and neither keys nor hosts"},
	{room: "examples/authz/token", allowed: append([]string{self + "/auth", "github.com/golang-jwt/jwt"}, authMay...), never: otelSDK, why: "a token knows keys, and no data"},
	{room: "examples/authz/web", allowed: slices.Concat([]string{self + "/storage", self + "/identity", self + "/examples/authz/repository", "github.com/go-json-experiment/json"}, otelAPI), never: otelSDK, why: "both APIs share it, and it serves neither"},
	{room: "examples/authz/engine", allowed: slices.Concat([]string{self + "/auth", self + "/examples/authz", "github.com/golang-jwt/jwt"}, authMay, otelAPI), never: append([]string{self + "/examples/authz/control"}, otelSDK...), why: "who asks an engine does not manage it"},
	{room: "examples/authz/control", allowed: slices.Concat([]string{self + "/auth", self + "/examples/authz", "github.com/golang-jwt/jwt"}, authMay, otelAPI), never: append([]string{self + "/examples/authz/engine"}, otelSDK...), why: "who manages an engine does not ask it"},
	{room: "otel/setup", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/config", "github.com/knadh/koanf", "github.com/go-viper/mapstructure", "github.com/mitchellh", "go.opentelemetry.io/contrib/bridges", "go.opentelemetry.io/contrib/exporters/autoexport", "github.com/santhosh-tekuri/jsonschema"}, otelProgram, prometheus), why: "telemetry is configured without a host"},
	{room: "host", allowed: hostMay, never: append([]string{self + "/server", self + "/otel"}, otelSDK...), why: "a host is handed the wrappers, and serves nobody"},
	{room: "config/configtest", allowed: slices.Concat([]string{self, "github.com/maypok86/otter", "github.com/failsafe-go", "github.com/bits-and-blooms/bitset", "pgregory.net/rapid", "github.com/anishathalye/porcupine"}, hostMay), never: append([]string{self + "/server", self + "/plugintest", self + "/plugins/etcd", self + "/plugins/ledger", self + "/plugins/pebble", self + "/plugins/postgres"}, otelSDK...), why: "tests of a configuration open hosts, and know engines by what they say"},
	{room: "", allowed: slices.Concat([]string{self + "/secret", "golang.org/x/sys", self + "/host", self + "/otel", self + "/internal/tenant", self + "/plugins/memory", "github.com/maypok86/otter", "github.com/failsafe-go", "github.com/bits-and-blooms/bitset"}, hostMay), never: append([]string{self + "/server", self + "/otel/setup", self + "/plugintest", self + "/plugins/etcd", self + "/plugins/ledger", self + "/plugins/pebble", self + "/plugins/postgres", self + "/storage/storagetest"}, otelSDK...), why: "whoever embeds gets a host, and neither servers nor engines that the program did not name"},
}

// authMay is what package auth may know.
var authMay = []string{self + "/storage", self + "/identity", self + "/internal/strictjson", "github.com/go-json-experiment/json", "filippo.io/edwards25519", "github.com/maypok86/otter", "golang.org/x/sys", "go.opentelemetry.io/otel", "github.com/go-logr", "github.com/cespare/xxhash"}

// onlyImporters are the packages that may import something directly.
var onlyImporters = map[string][]string{
	"github.com/tetratelabs/wazero": {self + "/internal/carrier/wasmhost"},
	"google.golang.org/grpc":        {self + "/internal/abi/abigrpc", self + "/server/grpcserver", self + "/client", self + "/internal/carrier/procs", self + "/sdk/process", self + "/plugins/etcd", self + "/plugins/ledger", self + "/internal/ledger/ledgertest"},
	"github.com/hashicorp/go-plugin": {
		self + "/internal/carrier/procs", self + "/sdk/process"},
	// Where spans and metrics go is for programs to say.
	"go.opentelemetry.io/otel/sdk":          {self + "/otel/setup", self + "/otel/snapshot", self + "/examples/embed"},
	"go.opentelemetry.io/otel/exporters":    {self + "/otel/setup", self + "/examples/embed"},
	"go.opentelemetry.io/contrib/otelconf":  {self + "/otel/setup", self + "/otel/plugin"},
	"github.com/prometheus":                 {self + "/otel/setup"},
	"github.com/santhosh-tekuri/jsonschema": {self + "/otel/setup"},
	"github.com/knadh/koanf":                {self + "/config"},
	"go.yaml.in/yaml":                       {self + "/config", self + "/config/internal/strictyaml"},
	"testing":                               {self + "/storage/storagetest", self + "/internal/cachetest", self + "/internal/changetest", self + "/internal/crashtest"},
}

// beneath is what a room stands on: who may know the one may know the other.
var beneath = map[string][]string{
	self + "/storage":        {self + "/internal/changetail", self + "/internal/clock", self + "/internal/keyrange", self + "/internal/backoff", self + "/internal/durable"},
	self + "/abi":            {self + "/internal/abi"},
	self + "/plugins/ledger": {self + "/internal/ledger"},
}

func TestWalls(t *testing.T) {
	for _, w := range walls {
		t.Run(w.room+" "+w.goos, func(t *testing.T) {
			allowed := w.allowed
			for room, more := range beneath {
				if slices.Contains(w.allowed, room) {
					allowed = slices.Concat(allowed, more)
				}
			}
			room := path.Join(self, w.room)
			for _, dep := range deps(t, w.goos, room) {
				if dep == room || standard(dep) {
					continue
				}
				if !hasPrefix(allowed, dep) || hasPrefix(w.never, dep) {
					t.Errorf("%s brings in %s: %s", w.room, dep, w.why)
				}
			}
		})
	}
}

// wallless are the packages without a wall, each with its reason.
var wallless = map[string]string{
	"cmd/plinth":              "the program puts everything together",
	"examples":                "it holds tests alone",
	"examples/authz":          "a program, as its reader would write one",
	"examples/custom-wrapper": "a program, as its reader would write one",
	"examples/embed":          "a program, as its reader would write one",
	"examples/follow":         "a program, as its reader would write one",
	"tools/release":           "it builds the program",
	"tools/docgen":            "it describes whatever can be configured",
}

// Every package has a wall, or a reason to have none.
func TestEveryPackageHasAWall(t *testing.T) {
	reasons := maps.Clone(wallless)
	for _, pkg := range append(goList(t, "", "./..."), goList(t, "wasip1", "./sdk/...", "./plugins/memory/...")...) {
		room := strings.TrimPrefix(strings.TrimPrefix(pkg, self), "/")
		walled := slices.ContainsFunc(walls, func(w wall) bool { return w.room == room })
		if _, excused := wallless[room]; walled == excused {
			t.Errorf("%q: a package has a row in walls, or a reason in wallless", room)
		}
		delete(reasons, room)
	}
	for room := range reasons {
		t.Errorf("%q is no package", room)
	}
}

func TestOnlyImporters(t *testing.T) {
	lines := goList(t, "", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	for _, line := range lines {
		fields := strings.Fields(line)
		for _, imported := range fields[1:] {
			for what, who := range onlyImporters {
				if (imported == what || strings.HasPrefix(imported, what+"/")) && !hasPrefix(who, fields[0]) {
					t.Errorf("%s imports %s; only %v may", fields[0], imported, who)
				}
			}
		}
	}
}

// A room says in its doc.go what may live in it.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, line := range goList(t, "", "-f", "{{.ImportPath}}\t{{.Doc}}", "./...") {
		if pkg, doc, _ := strings.Cut(line, "\t"); doc == "" {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

func deps(t *testing.T, goos, pkg string) []string {
	return goList(t, goos, "-deps", pkg)
}

func goList(t *testing.T, goos string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Env = os.Environ()
	if goos != "" {
		cmd.Env = append(cmd.Env, "GOOS="+goos, "GOARCH=wasm")
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// standard reports whether pkg is of the standard library: its first element has no dot.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

func hasPrefix(prefixes []string, pkg string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return pkg == p || strings.HasPrefix(pkg, strings.TrimSuffix(p, "/")+"/")
	})
}
