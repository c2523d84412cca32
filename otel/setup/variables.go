package setup

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// variableRule says what the values of variables must be. wrong returns what is wrong with
// a value, as the rest of a sentence, or "". Nothing of values that may be secret is in it.
type variableRule struct {
	names *regexp.Regexp
	wrong func(value string) string
}

// ofExporter matches variables of exporters, for all signals and for one.
func ofExporter(setting string) *regexp.Regexp {
	return regexp.MustCompile(`^OTEL_EXPORTER_OTLP_((TRACES|METRICS|LOGS)_)?(` + setting + `)$`)
}

// variableRules are for what the SDK ignores or replaces, if it is wrong, with a message at most.
var variableRules = []variableRule{
	{ofExporter("ENDPOINT"), func(v string) string { return urlError(v, false) }},
	{ofExporter("PROTOCOL"), exactlyOneOf("grpc", "http/protobuf")},
	{ofExporter("HEADERS"), wrongHeaders},
	{ofExporter("TIMEOUT"), wholeNumber(0, " of milliseconds")},
	{ofExporter("COMPRESSION"), exactlyOneOf("gzip", "none")},
	{ofExporter("INSECURE"), oneOf("true", "false")},
	{ofExporter("CERTIFICATE"), wrongCertificate},
	{ofExporter("CLIENT_CERTIFICATE"), wrongCertificate},
	{ofExporter("CLIENT_KEY"), unreadable},
	{regexp.MustCompile(`^OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE$`), oneOf("cumulative", "delta", "lowmemory")},
	{regexp.MustCompile(`^OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION$`), oneOf("explicit_bucket_histogram", "base2_exponential_bucket_histogram")},
	{regexp.MustCompile(`^OTEL_TRACES_SAMPLER$`), oneOf("always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")},
	{regexp.MustCompile(`^OTEL_TRACES_SAMPLER_ARG$`), wrongRatio},
	{regexp.MustCompile(`^OTEL_(BSP|BLRP)_(SCHEDULE_DELAY|EXPORT_TIMEOUT)$`), wholeNumber(0, " of milliseconds")},
	{regexp.MustCompile(`^OTEL_(BSP|BLRP)_(MAX_QUEUE_SIZE|MAX_EXPORT_BATCH_SIZE)$`), wholeNumber(1, "")},
	{regexp.MustCompile(`^OTEL_METRIC_EXPORT_(INTERVAL|TIMEOUT)$`), wholeNumber(1, " of milliseconds")},
	{regexp.MustCompile(`^OTEL_METRICS_EXEMPLAR_FILTER$`), oneOf("always_on", "always_off", "trace_based")},
	{regexp.MustCompile(`^OTEL_((SPAN|EVENT|LINK|LOGRECORD)_)?(ATTRIBUTE|EVENT|LINK)_(COUNT|VALUE_LENGTH|VALUE_DEPTH)_LIMIT$`), wrongLimit},
	{regexp.MustCompile(`^OTEL_PROPAGATORS$`), wrongPropagators},
	{regexp.MustCompile(`^OTEL_RESOURCE_ATTRIBUTES$`), wrongAttributes},
}

// wrongVariable returns what is wrong with the value of a variable, or "".
func wrongVariable(name, value string) string {
	for _, rule := range variableRules {
		if rule.names.MatchString(name) {
			return rule.wrong(strings.TrimSpace(value))
		}
	}
	return ""
}

// oneOf accepts words in any case.
func oneOf(words ...string) func(string) string {
	exactly := exactlyOneOf(words...)
	return func(value string) string {
		if slices.Contains(words, strings.ToLower(value)) {
			return ""
		}
		return exactly(value)
	}
}

func exactlyOneOf(words ...string) func(string) string {
	return func(value string) string {
		if slices.Contains(words, value) {
			return ""
		}
		return fmt.Sprintf("is %q, it must be one of %s", value, strings.Join(words, ", "))
	}
}

func wholeNumber(least int, unit string) func(string) string {
	return func(value string) string {
		if n, err := strconv.Atoi(value); err != nil || n < least || strconv.Itoa(n) != value {
			return fmt.Sprintf("must be a whole number%s, at least %d", unit, least)
		}
		return ""
	}
}

func wrongLimit(value string) string {
	if n, err := strconv.Atoi(value); err != nil || strconv.Itoa(n) != value {
		return "must be a whole number; a negative one means no limit"
	}
	return ""
}

func wrongRatio(value string) string {
	if f, err := strconv.ParseFloat(value, 64); err != nil || !(f >= 0 && f <= 1) {
		return "must be a number from 0 to 1"
	}
	return ""
}

func wrongPropagators(value string) string {
	known := []string{"tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray", "ottrace", "none"}
	for name := range strings.SplitSeq(value, ",") {
		if !slices.Contains(known, name) {
			return fmt.Sprintf("contains %q, it must be some of %s, with commas between", name, strings.Join(known, ", "))
		}
	}
	return ""
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func wrongHeaders(value string) string {
	return wrongPairs(value, func(name, value string) bool {
		_, err := url.PathUnescape(value)
		return headerName.MatchString(name) && err == nil
	})
}

func wrongAttributes(value string) string {
	return wrongPairs(value, func(name, value string) bool {
		_, err := url.PathUnescape(value)
		return name != "" && err == nil
	})
}

// wrongPairs names a wrong entry by its place: what is in it may be a secret.
func wrongPairs(value string, ok func(name, value string) bool) string {
	i := 0
	for entry := range strings.SplitSeq(value, ",") {
		i++
		name, value, pair := strings.Cut(entry, "=")
		if !pair || !ok(strings.TrimSpace(name), strings.TrimSpace(value)) {
			return fmt.Sprintf("must be NAME=VALUE pairs with commas between and %%-escapes for special characters: entry %d is not one", i)
		}
	}
	return ""
}

func unreadable(file string) string {
	_, wrong := read(file)
	return wrong
}

func wrongCertificate(file string) string {
	content, wrong := read(file)
	if wrong == "" && !x509.NewCertPool().AppendCertsFromPEM(content) {
		return "names a file without a certificate (PEM)"
	}
	return wrong
}

func read(file string) (content []byte, wrong string) {
	info, err := os.Stat(file)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, "does not name a file"
	case err == nil:
		content, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Sprintf("names a file that cannot be read: %v", err)
	}
	return content, ""
}
