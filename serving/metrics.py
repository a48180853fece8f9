"""Operational metrics in Prometheus' format. No label ever holds an id of a shopper, an item or a screen."""

from prometheus_client import Counter, Gauge, Histogram

RECOMMENDATIONS = Counter("facings_recommendations_total", "Answered slates", ["placement", "fallback"])
SECONDS = Histogram(
    "facings_recommend_seconds",
    "Time to decide and encode a slate",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
SIGHTINGS = Counter("facings_sightings_total", "Sightings by outcome", ["status"])
EVENTS = Counter("facings_events_total", "Interactions received by outcome", ["outcome"])
STREAMS = Gauge("facings_streams", "Open event streams of screens")
SNAPSHOTS_TAKEN = Counter("facings_snapshots_taken_total", "Snapshots taken into use")
SNAPSHOTS_REFUSED = Counter("facings_snapshots_refused_total", "Snapshots that were damaged and not taken")
