package setup

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// pullReader decodes what OpenTelemetry's schema has for a page that is asked for.
type pullReader struct {
	Exporter struct {
		Prometheus prometheusExporter `json:"prometheus/development"`
	} `json:"exporter"`
}

// prometheusExporter is its only exporter. It has no host and no port: the page is the
// server's, behind its own address.
type prometheusExporter struct {
	TranslationStrategy string `json:"translation_strategy"`
	WithoutScopeInfo    bool   `json:"without_scope_info"`
	WithoutTargetInfo   bool   `json:"without_target_info/development"`
	NoTargetInfo        bool   `json:"without_target_info"` // the same
}

var strategies = map[string]otlptranslator.TranslationStrategyOption{
	"":                                     otlptranslator.UnderscoreEscapingWithSuffixes,
	"underscore_escaping_with_suffixes":    otlptranslator.UnderscoreEscapingWithSuffixes,
	"underscore_escaping_without_suffixes": otlptranslator.UnderscoreEscapingWithoutSuffixes,
	"no_utf8_escaping_with_suffixes":       otlptranslator.NoUTF8EscapingWithSuffixes,
	"no_translation":                       otlptranslator.NoTranslation,
}

// newPrometheus returns a reader of metrics and the page that shows them, with those
// of the process and of Go.
func newPrometheus(e *prometheusExporter) (sdkmetric.Reader, http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	strategy := strategies[strings.TrimSuffix(e.TranslationStrategy, development)]
	options := []otelprom.Option{otelprom.WithRegisterer(registry), otelprom.WithTranslationStrategy(strategy)}
	if e.WithoutScopeInfo {
		options = append(options, otelprom.WithoutScopeInfo())
	}
	if e.WithoutTargetInfo || e.NoTargetInfo {
		options = append(options, otelprom.WithoutTargetInfo())
	}
	reader, err := otelprom.New(options...)
	if err != nil {
		return nil, nil, err
	}
	return reader, promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}), nil
}
