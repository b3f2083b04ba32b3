"""Makes most of the well-formed orders fit together, so that they get past the fields and into the gateway.

A schema can't say that a market order takes no price, or that one of two durations is enough. What is drawn to be wrong
stays wrong.
"""

import json

import schemathesis

PRICES = {
    "market": [],
    "limit": ["limit_price"],
    "stop": ["stop_price"],
    "stop_limit": ["limit_price", "stop_price"],
    "trailing_stop": ["trail_price"],
}
ALL_PRICES = ["limit_price", "stop_price", "trail_price", "trail_percent"]
# Drawn numbers are seldom any that an order could have.
REPLACED = {"qty": "103", "account": "default", "duration_seconds": 60, "interval_seconds": 10}
# Each is for some orders only, or at odds with another.
DROPPED = ["trade_date", "start_time", "duration_minutes", "max_slice_qty", "price_bound", "randomize", "extended_hours"]


def fit(path, body):
    wanted = PRICES[body["order_type"]]
    for name in ALL_PRICES:
        body.pop(name, None)
    body.update({name: "100" for name in wanted})
    for name in DROPPED:
        body.pop(name, None)
    for name, value in REPLACED.items():
        if name in body:
            body[name] = value
    if "slice" in path:
        body["duration_seconds"] = REPLACED["duration_seconds"]


@schemathesis.hook
def before_call(context, case, kwargs):
    path, body = case.operation.path, case.body
    is_order = case.operation.method.upper() == "POST" and path in ("/api/v1/orders", "/api/v1/orders/slice")
    is_sound = case.meta is not None and case.meta.generation.mode.is_positive
    if not is_order or not is_sound or not isinstance(body, dict) or body.get("order_type") not in PRICES:
        return
    # One in four goes as it was drawn.
    if len(json.dumps(body)) % 4:
        fit(path, body)
