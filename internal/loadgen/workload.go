package loadgen

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Op names a kind of operation.
type Op string

// The operations, as YCSB has them.
const (
	Read   Op = "read"
	Update Op = "update" // a new value for an existing key
	Insert Op = "insert" // a key that was not there
	Scan   Op = "scan"   // 1 to 100 items from a key on
	Modify Op = "modify" // a read, and a write unless the key was written meanwhile
)

// ops are all, in the order of reports.
var ops = []Op{Read, Update, Insert, Scan, Modify}

// Distribution says how existing keys are chosen.
type Distribution string

// The distributions.
const (
	Zipfian Distribution = "zipfian" // a few are asked for most, wherever they are in the order of keys
	Uniform Distribution = "uniform" // each as often
	Latest  Distribution = "latest"  // those that were inserted last, most
)

// Workload describes a mix of operations and a choice of keys.
type Workload struct {
	Mix          map[Op]int   `json:"mix"` // the share of each operation; any sum
	Distribution Distribution `json:"distribution"`
}

// YCSB holds the core workloads of the Yahoo! Cloud Serving Benchmark, by their letters.
var YCSB = map[string]Workload{
	"a": {map[Op]int{Read: 50, Update: 50}, Zipfian},
	"b": {map[Op]int{Read: 95, Update: 5}, Zipfian},
	"c": {map[Op]int{Read: 100}, Zipfian},
	"d": {map[Op]int{Read: 95, Insert: 5}, Latest},
	"e": {map[Op]int{Scan: 95, Insert: 5}, Zipfian},
	"f": {map[Op]int{Read: 50, Modify: 50}, Zipfian},
}

// ParseWorkload returns the workload of a letter of YCSB, or of a mix such as "read=90,update=10".
func ParseWorkload(text string) (Workload, error) {
	if w, ok := YCSB[strings.ToLower(text)]; ok {
		return w, nil
	}
	w := Workload{map[Op]int{}, Zipfian}
	for part := range strings.SplitSeq(text, ",") {
		name, share, ok := strings.Cut(part, "=")
		n, err := strconv.Atoi(share)
		if op := Op(name); !ok || !slices.Contains(ops, op) || err != nil || n < 1 || n > 1_000_000 || w.Mix[op] > 0 {
			return w, fmt.Errorf("%.60q is neither a letter from A to F nor a mix such as read=90,update=10 of read, update, insert, scan and modify", text)
		}
		w.Mix[Op(name)] = n
	}
	return w, nil
}

// String returns the mix.
func (w Workload) String() string {
	var parts []string
	for _, op := range ops {
		if n := w.Mix[op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", op, n))
		}
	}
	return strings.Join(parts, ",")
}

// chooser chooses operations by their shares. It is not safe for concurrent use.
type chooser struct {
	r     *rand.Rand
	bound []int
	op    []Op
}

func newChooser(r *rand.Rand, mix map[Op]int) *chooser {
	c := &chooser{r: r}
	sum := 0
	for _, op := range slices.Sorted(maps.Keys(mix)) {
		sum += mix[op]
		c.bound, c.op = append(c.bound, sum), append(c.op, op)
	}
	return c
}

func (c *chooser) next() Op {
	at := c.r.IntN(c.bound[len(c.bound)-1])
	i, _ := slices.BinarySearch(c.bound, at+1)
	return c.op[i]
}

// theta says how uneven a zipfian distribution is, as YCSB has it.
const theta = 0.99

// zipf chooses numbers below n, small ones most (Gray et al., "Quickly generating
// billion-record synthetic databases", 1994). It is made once, and read by all callers.
type zipf struct {
	n                 uint64
	zetan, alpha, eta float64
}

func newZipf(n uint64) *zipf {
	z := &zipf{n: n, alpha: 1 / (1 - theta)}
	for i := uint64(1); i <= n; i++ {
		z.zetan += 1 / math.Pow(float64(i), theta)
	}
	zeta2 := 1 + math.Pow(0.5, theta)
	z.eta = (1 - math.Pow(2/float64(n), 1-theta)) / (1 - zeta2/z.zetan)
	return z
}

func (z *zipf) next(r *rand.Rand) uint64 {
	u := r.Float64()
	switch uz := u * z.zetan; {
	case uz < 1 || z.n == 1:
		return 0
	case uz < 1+math.Pow(0.5, theta):
		return 1
	}
	return min(uint64(float64(z.n)*math.Pow(z.eta*u-z.eta+1, z.alpha)), z.n-1)
}

// scatter spreads numbers over all 64 bits, each to another: neighbours among the often
// chosen are not neighbours among keys.
func scatter(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
