package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/tensor"
)

// metrics are what GET /metrics shows.
type metrics struct {
	http.Handler
	firstToken prometheus.Histogram
	interToken prometheus.Histogram
	finished   *prometheus.CounterVec
}

// Seconds between a millisecond and two minutes.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

func newMetrics(s *Server) *metrics {
	r := prometheus.NewRegistry()
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencyBuckets})
		r.MustRegister(h)
		return h
	}
	m := &metrics{
		Handler:    promhttp.HandlerFor(r, promhttp.HandlerOpts{}),
		firstToken: histogram("ullm_time_to_first_token_seconds", "Time from a request's arrival to its first token."),
		interToken: histogram("ullm_inter_token_seconds", "Time between two tokens of an answer."),
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ullm_requests_finished_total",
			Help: "Answers that ended, by reason."}, []string{"reason"}),
	}
	r.MustRegister(m.finished, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ullm_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": s.options.version}})
	build.Set(1)
	r.MustRegister(build, engineCollector{s})
	return m
}

// clock times the tokens of one answer.
type clock struct {
	metrics *metrics
	last    time.Time // of the token before, or of the request
	seen    bool
}

// token is told what Generation.Next returned, and of a cancellation before the last token.
func (c *clock) token(t *ullm.Token, err error) {
	switch {
	case err == io.EOF:
		return
	case errors.Is(err, context.Canceled):
		c.metrics.finished.WithLabelValues("abort").Inc()
		return
	case err != nil:
		c.metrics.finished.WithLabelValues("error").Inc()
		return
	}
	now := time.Now()
	if c.seen {
		c.metrics.interToken.Observe(now.Sub(c.last).Seconds())
	} else {
		c.metrics.firstToken.Observe(now.Sub(c.last).Seconds())
	}
	c.last, c.seen = now, true
	if t.Finish != "" {
		c.metrics.finished.WithLabelValues(t.Finish).Inc()
	}
}

// engineCollector reads the engine's own counts when it is asked.
type engineCollector struct{ s *Server }

// engineMetric is a count of the scheduler's.
type engineMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(sched.Stats) float64
}

var (
	engineMetrics = []engineMetric{
		engineGauge("ullm_requests_running", "Sequences that run.", func(s sched.Stats) float64 { return float64(s.Running) }),
		engineGauge("ullm_requests_waiting", "Requests that wait.", func(s sched.Stats) float64 { return float64(s.Waiting) }),
		engineGauge("ullm_kv_cache_usage_ratio", "Share of the KV pages that sequences hold.", func(s sched.Stats) float64 {
			return float64(s.Pages-s.FreePages) / float64(max(s.Pages, 1))
		}),
		engineCounter("ullm_prompt_tokens_total", "Tokens of prompts.", func(s sched.Stats) float64 { return float64(s.PromptTokens) }),
		engineCounter("ullm_prefix_cache_hit_tokens_total", "Tokens of prompts that were cached.", func(s sched.Stats) float64 { return float64(s.CachedTokens) }),
		engineCounter("ullm_generated_tokens_total", "Tokens generated.", func(s sched.Stats) float64 { return float64(s.GeneratedTokens) }),
		engineCounter("ullm_preemptions_total", "Sequences that lost their memory and were computed again.", func(s sched.Stats) float64 { return float64(s.Preemptions) }),
		engineCounter("ullm_steps_total", "Steps of the model.", func(s sched.Stats) float64 { return float64(s.Steps) }),
	}
	memoryDesc = prometheus.NewDesc("ullm_device_memory_bytes", "Device memory held.", []string{"use"}, nil)
)

func engineGauge(name, help string, value func(sched.Stats) float64) engineMetric {
	return engineMetric{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value}
}

func engineCounter(name, help string, value func(sched.Stats) float64) engineMetric {
	return engineMetric{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, value}
}

func (c engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range engineMetrics {
		ch <- m.desc
	}
	ch <- memoryDesc
}

func (c engineCollector) Collect(ch chan<- prometheus.Metric) {
	e := c.s.engine.Load()
	if e == nil {
		return
	}
	stats := e.Stats()
	for _, m := range engineMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(stats))
	}
	for use, count := range e.Memory().Live {
		ch <- prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, float64(count.Bytes), tensor.Use(use).String())
	}
}
