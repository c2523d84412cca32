package setup

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// pullReader is what OpenTelemetry's schema has for a page that is asked for.
type pullReader struct {
	Exporter struct {
		Prometheus prometheusExporter `json:"prometheus/development"`
	} `json:"exporter"`
}

// prometheusExporter is its only exporter. Host and Port are not ours to take:
// the page is the server's, behind its own address.
type prometheusExporter struct {
	Host                *string `json:"host"`
	Port                *int    `json:"port"`
	TranslationStrategy string  `json:"translation_strategy"`
	WithoutScopeInfo    bool    `json:"without_scope_info"`
	WithoutTargetInfo   bool    `json:"without_target_info"`
}

var strategies = map[string]otlptranslator.TranslationStrategyOption{
	"":                                     otlptranslator.UnderscoreEscapingWithSuffixes,
	"underscore_escaping_with_suffixes":    otlptranslator.UnderscoreEscapingWithSuffixes,
	"underscore_escaping_without_suffixes": otlptranslator.UnderscoreEscapingWithoutSuffixes,
	"no_utf8_escaping_with_suffixes":       otlptranslator.NoUTF8EscapingWithSuffixes,
	"no_translation":                       otlptranslator.NoTranslation,
}

func (e *prometheusExporter) validate() error {
	if e.Host != nil || e.Port != nil {
		return errors.New("takes no host and no port: the page is served at /metrics, where the server listens")
	}
	if _, ok := strategies[e.TranslationStrategy]; !ok {
		return errors.New("has an unknown translation_strategy")
	}
	return nil
}

// newPrometheus is a reader of metrics and the page that shows them, with those
// of the process and of Go.
func newPrometheus(e *prometheusExporter) (sdkmetric.Reader, http.Handler, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	options := []otelprom.Option{otelprom.WithRegisterer(registry), otelprom.WithTranslationStrategy(strategies[e.TranslationStrategy])}
	if e.WithoutScopeInfo {
		options = append(options, otelprom.WithoutScopeInfo())
	}
	if e.WithoutTargetInfo {
		options = append(options, otelprom.WithoutTargetInfo())
	}
	reader, err := otelprom.New(options...)
	if err != nil {
		return nil, nil, err
	}
	return reader, promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}), nil
}
