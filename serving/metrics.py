"""Operational metrics in Prometheus' format. No label ever holds an id of a shopper, an item or a screen."""

from prometheus_client import Counter, Gauge, Histogram

RECOMMENDATIONS = Counter("facings_recommendations_total", "Answered slates", ["placement", "fallback"])
SECONDS = Histogram(
    "facings_recommend_seconds",
    "Time to decide and encode a slate, without what others took that were asked for at once",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
DECISIONS = Counter("facings_decisions_total", "Decisions by what became of their record", ["outcome"])
SIGHTINGS = Counter("facings_sightings_total", "Sightings by outcome", ["status"])
EVENTS = Counter("facings_events_total", "Interactions received by outcome", ["outcome"])
STREAMS = Gauge("facings_streams", "Open event streams of screens")
SNAPSHOTS_TAKEN = Counter("facings_snapshots_taken_total", "Snapshots taken into use")
SNAPSHOTS_REFUSED = Counter("facings_snapshots_refused_total", "Snapshots that were damaged and not taken")
BUDGET_LEFT = Gauge(
    "facings_budget_left", "Money of a campaign that is neither spent nor committed, minor units", ["campaign"]
)
LIVE_SECONDS = Histogram(
    "facings_live_seconds",
    "From the moment an event is on the disk until it counts in this process",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
LIVE_PUSH_SECONDS = Gauge("facings_live_push_seconds", "How long the last push of live features took")
LIVE_SHOPPERS = Gauge("facings_live_shoppers", "Shoppers whose newest events are held in memory")
LIVE_LATE = Counter("facings_live_late_total", "Slates that did not wait longer for the newest events to count")
LIVE_FAILED = Counter("facings_live_failed_total", "Failed attempts to let the newest events count")
