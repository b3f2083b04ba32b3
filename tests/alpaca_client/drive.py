"""Drives `tranche venue` by Alpaca's own client: if its models parse every answer, and what they say is right, the double
is what it claims to be.

    python drive.py PROGRAM

starts the program on a port that the system picks, in a folder that goes with the run, and fails loudly.
"""

import asyncio
import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

from alpaca.common.exceptions import APIError
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockLatestQuoteRequest, StockLatestTradeRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, OrderType, QueryOrderStatus, TimeInForce
from alpaca.trading.models import TradeActivity
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
    TrailingStopOrderRequest,
)
from alpaca.trading.stream import TradingStream

KEY, SECRET = "PKCLIENT", "client-secret"
BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC
SOON = 20


class Venue:
    """The running program."""

    def __init__(self, program, folder):
        command = [program, "venue", "--bind", "127.0.0.1:0", "--folder", folder, "--key", f"{KEY}:{SECRET}"]
        command += ["--latency-ms", "0", "--quote-interval-ms", "20", "--rate-limit", "100000"]
        self.process = subprocess.Popen(command + ["--partial-per-mille", "0"], stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        self.url = re.search(r"http://\S+?(?=;)", first).group()
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def admin(self, method, path, body=None):
        request = urllib.request.Request(self.url + "/admin" + path, method=method)
        request.data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def stop(self):
        self.process.terminate()
        assert self.process.wait(SOON) == 0, "the venue did not end well"


def eventually(what, look):
    """Looks until there is something, and gives up after a bound."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"never: {what}")


def refused(status, code, words, call):
    try:
        call()
    except APIError as error:
        told = (error.status_code, error.code)
        assert told == (status, code) and words in error.message, (told, error.message)
        return error
    raise AssertionError(f"was not refused: {words}")


class Scenes:
    """Each method is one scene, on a flat account without open orders."""

    def __init__(self, venue):
        self.venue = venue
        self.client = TradingClient(KEY, SECRET, paper=True, url_override=venue.url)
        self.data = StockHistoricalDataClient(KEY, SECRET, url_override=venue.url)
        self.number = 0

    def name(self):
        self.number += 1
        return f"scene-{self.number}"

    def rest(self, limit=1.5, symbol="AAPL", qty=10, side=BUY, tif=GTC, name=None):
        """An order that the market never touches."""
        wanted = LimitOrderRequest(
            symbol=symbol, qty=qty, side=side, time_in_force=tif, limit_price=limit, client_order_id=name or self.name()
        )
        return self.client.submit_order(wanted)

    def buy(self, qty=10, symbol="AAPL"):
        wanted = MarketOrderRequest(symbol=symbol, qty=qty, side=BUY, time_in_force=DAY)
        return self.ended(self.client.submit_order(wanted), OrderStatus.FILLED)

    def ended(self, order, status):
        def look():
            now = self.client.get_order_by_id(order.id)
            return now if now.status == status else None

        return eventually(f"{order.client_order_id} {status}", look)

    def flat(self):
        self.venue.admin("PUT", "/faults", {})
        self.client.cancel_orders()
        eventually("no open orders", lambda: not self.client.get_orders())
        for position in self.client.get_all_positions():
            self.ended(self.client.close_position(position.symbol), OrderStatus.FILLED)
        assert self.client.get_all_positions() == []

    # What can be asked of an account and a market.

    def account_clock_calendar_and_assets(self):
        account = self.client.get_account()
        assert account.status.value == "ACTIVE" and account.currency == "USD"
        assert float(account.cash) > 0 and account.trading_blocked is False
        assert self.client.get_account_configurations().suspend_trade is False
        clock = self.client.get_clock()
        assert clock.is_open and clock.timestamp < clock.next_close
        assert abs(clock.timestamp - datetime.now(timezone.utc)) < timedelta(minutes=1)
        days = self.client.get_calendar(GetCalendarRequest(start=date(2026, 3, 6), end=date(2026, 3, 9)))
        assert [day.date.day for day in days] == [6, 7, 8, 9] and all(day.open < day.close for day in days)
        asset = self.client.get_asset("AAPL")
        assert asset.symbol == "AAPL" and asset.tradable and asset.fractionable
        assert self.client.get_asset(str(asset.id)) == asset
        assert asset in self.client.get_all_assets(GetAssetsRequest())

    def quotes_trades_and_bars(self):
        quote = self.data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=["AAPL", "MSFT"]))["MSFT"]
        assert 80 < quote.bid_price < quote.ask_price < 120
        trade = self.data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))
        assert 80 < trade["AAPL"].price < 120
        start = datetime.now(timezone.utc) - timedelta(days=30)
        wanted = StockBarsRequest(symbol_or_symbols=["AAPL", "MSFT"], timeframe=TimeFrame.Day, start=start)
        bars = self.data.get_stock_bars(wanted)
        assert len(bars["AAPL"]) == 30 and bars["AAPL"][0].volume != bars["MSFT"][0].volume
        for bar in bars["AAPL"]:
            assert bar.low <= bar.open <= bar.high and bar.low <= bar.close <= bar.high and bar.volume >= 1_000_000

    # Orders.

    def every_type_of_order(self):
        def taken(kind, order_type, **fields):
            wanted = kind(symbol="AAPL", qty=3, time_in_force=GTC, client_order_id=self.name(), **fields)
            order = self.client.submit_order(wanted)
            assert order.status in (OrderStatus.PENDING_NEW, OrderStatus.ACCEPTED), order.status
            assert order.type == order.order_type == order_type and order.qty == "3" and order.filled_qty == "0"
            assert order.created_at and order.updated_at and order.submitted_at and order.filled_at is None
            assert self.client.get_order_by_client_id(order.client_order_id).id == order.id
            return self.client.get_order_by_id(order.id)

        self.buy(10)
        limit = taken(LimitOrderRequest, OrderType.LIMIT, side=BUY, limit_price=10.25)
        assert limit.limit_price == "10.25" and limit.stop_price is None and limit.status == OrderStatus.NEW
        self.client.cancel_order_by_id(limit.id)
        stop = taken(StopOrderRequest, OrderType.STOP, side=SELL, stop_price=10)
        assert stop.stop_price == "10"
        both = taken(StopLimitOrderRequest, OrderType.STOP_LIMIT, side=SELL, stop_price=10, limit_price=9)
        assert (both.stop_price, both.limit_price) == ("10", "9")
        trail = taken(TrailingStopOrderRequest, OrderType.TRAILING_STOP, side=SELL, trail_price=40)
        assert trail.trail_price == "40" and Decimal(trail.hwm) - Decimal(trail.stop_price) == 40
        self.client.cancel_orders()
        eventually("no open orders", lambda: not self.client.get_orders())
        trail = taken(TrailingStopOrderRequest, OrderType.TRAILING_STOP, side=SELL, trail_percent=50)
        assert trail.trail_percent == "50" and Decimal(trail.stop_price) * 2 == Decimal(trail.hwm)
        market = taken(MarketOrderRequest, OrderType.MARKET, side=SELL)
        filled = self.ended(market, OrderStatus.FILLED)
        assert filled.filled_qty == "3" and 80 < float(filled.filled_avg_price) < 120 and filled.filled_at

    def every_time_in_force(self):
        for tif in (DAY, GTC, TimeInForce.OPG, TimeInForce.CLS):
            order = self.rest(tif=tif)
            assert order.time_in_force == tif
            live = self.client.get_order_by_id(order.id).status
            assert live == (OrderStatus.NEW if tif in (DAY, GTC) else OrderStatus.ACCEPTED)
        for tif in (TimeInForce.IOC, TimeInForce.FOK):
            self.ended(self.rest(tif=tif), OrderStatus.CANCELED)
        refused(422, 42210000, "day or gtc", lambda: self.client.submit_order(StopOrderRequest(
            symbol="TSLA", qty=1, side=SELL, time_in_force=TimeInForce.IOC, stop_price=1)))

    def fractions_and_money(self):
        wanted = MarketOrderRequest(symbol="AAPL", qty=0.125, side=BUY, time_in_force=DAY)
        assert self.ended(self.client.submit_order(wanted), OrderStatus.FILLED).filled_qty == "0.125"
        wanted = MarketOrderRequest(symbol="AAPL", notional=250, side=BUY, time_in_force=DAY)
        order = self.ended(self.client.submit_order(wanted), OrderStatus.FILLED)
        assert order.notional == "250" and order.qty is None and 2 < float(order.filled_qty) < 3
        refused(422, 42210000, "DAY", lambda: self.rest(qty=0.5, tif=GTC))

    def lists_with_filters_and_pages(self):
        since = self.client.get_clock().timestamp
        orders = [self.rest(symbol=symbol) for symbol in ["MSFT", "NVDA"] * 5]
        last = self.rest(symbol="MSFT", side=SELL, limit=500)
        self.client.cancel_order_by_id(orders[0].id)

        def listed(**filters):
            return [order.id for order in self.client.get_orders(GetOrdersRequest(**filters))]

        ids = [order.id for order in orders] + [last.id]
        assert listed(status=QueryOrderStatus.OPEN) == ids[:0:-1], "newest first"
        assert listed(status=QueryOrderStatus.CLOSED, after=since) == ids[:1]
        assert listed(status=QueryOrderStatus.ALL, after=since, direction="asc") == ids
        assert listed(side=SELL) == ids[-1:]
        assert listed(symbols=["NVDA"], direction="asc") == ids[1:10:2]
        assert listed(limit=3) == ids[:-4:-1]
        # The client's own times have microseconds, the venue's have nanoseconds: ask by the texts.
        every = self.client.get("/orders", {"status": "all", "direction": "asc", "after": since.isoformat()})
        at = [order["submitted_at"] for order in every]
        page = self.client.get("/orders", {"status": "all", "direction": "asc", "after": at[2], "until": at[6]})
        assert [UUID(order["id"]) for order in page] == ids[3:6], "both ends are exclusive"
        pages, begin = [], ids[0]
        while True:
            page = self.client.get("/orders", {"status": "all", "direction": "asc", "limit": 4, "after_order_id": begin})
            if not page:
                break
            pages += [UUID(order["id"]) for order in page]
            begin = pages[-1]
        assert pages == ids[1:]
        page = self.client.get("/orders", {"status": "all", "limit": 2, "before_order_id": ids[4]})
        assert [UUID(order["id"]) for order in page] == [ids[3], ids[2]]
        refused(422, 42210000, "limit", lambda: listed(limit=501))

    def replacement_is_a_new_order_in_a_chain(self):
        old = self.rest(limit=2, qty=10)
        change = ReplaceOrderRequest(qty=20, limit_price=2.5, client_order_id=self.name())
        new = self.client.replace_order_by_id(old.id, change)
        assert new.id != old.id and new.replaces == old.id and (new.qty, new.limit_price) == ("20", "2.5")
        assert new.client_order_id == change.client_order_id
        gone = self.ended(old, OrderStatus.REPLACED)
        assert gone.replaced_by == new.id and gone.replaced_at
        assert [order.id for order in self.client.get_orders()] == [new.id]
        again = self.client.replace_order_by_id(new.id, ReplaceOrderRequest(time_in_force=DAY))
        assert again.time_in_force == DAY and again.qty == "20"
        refused(422, 42210000, "replaced", lambda: self.client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=5)))
        taken = ReplaceOrderRequest(qty=5, client_order_id=old.client_order_id)
        refused(422, 40010001, "must be unique", lambda: self.client.replace_order_by_id(again.id, taken))
        trail = self.client.submit_order(
            TrailingStopOrderRequest(symbol="TSLA", qty=1, side=BUY, time_in_force=GTC, trail_price=40)
        )
        assert self.client.replace_order_by_id(trail.id, ReplaceOrderRequest(trail=30)).trail_price == "30"

    def a_replacement_counts_what_was_filled_and_may_lose(self):
        old = self.rest(limit=2, qty=10)
        self.venue.admin("POST", f"/orders/{old.id}/fill", {"qty": "4"})
        refused(422, 42210000, "filled", lambda: self.client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=4)))
        new = self.client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=6))
        assert new.filled_qty == "4" and new.qty == "6"
        self.venue.admin("POST", f"/orders/{new.id}/fill")
        assert self.ended(new, OrderStatus.FILLED).filled_qty == "6"
        assert self.client.get_open_position("AAPL").qty == "6"

        self.venue.admin("PUT", "/faults", {"replaces_lose": True})
        old = self.rest(limit=2, qty=10, symbol="MSFT")
        new = self.client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=20))
        assert self.ended(old, OrderStatus.FILLED).replaced_by is None
        assert self.ended(new, OrderStatus.REJECTED).filled_qty == "0"
        assert self.client.get_open_position("MSFT").qty == "10"

    def cancels(self):
        order = self.rest()
        self.client.cancel_order_by_id(order.id)
        assert self.ended(order, OrderStatus.CANCELED).canceled_at
        refused(422, 42210000, "not cancelable", lambda: self.client.cancel_order_by_id(order.id))
        stranger = "00000000-0000-4000-8000-000000000000"
        refused(404, 40410000, "not found", lambda: self.client.cancel_order_by_id(stranger))
        orders = [self.rest() for _ in range(3)]
        told = self.client.cancel_orders()
        assert {one.id for one in told} == {order.id for order in orders} and all(one.status == 200 for one in told)

        self.venue.admin("PUT", "/faults", {"cancels_stick": True})
        stuck = self.rest()
        self.client.cancel_order_by_id(stuck.id)
        assert self.client.get_order_by_id(stuck.id).status == OrderStatus.PENDING_CANCEL
        self.venue.admin("POST", f"/orders/{stuck.id}/fill")
        assert self.ended(stuck, OrderStatus.FILLED).filled_qty == "10"

    def positions(self):
        self.buy(10)
        position = self.client.get_open_position("AAPL")
        assert position.qty == "10" and position.side.value == "long" and position.qty_available == "10"
        assert float(position.avg_entry_price) > 0 and position.asset_id == self.client.get_asset("AAPL").id
        assert [held.symbol for held in self.client.get_all_positions()] == ["AAPL"]
        self.rest(symbol="AAPL", side=SELL, limit=900, qty=4)
        assert self.client.get_open_position("AAPL").qty_available == "6"
        self.client.cancel_orders()
        close = self.client.close_position("AAPL", ClosePositionRequest(percentage="50"))
        assert self.ended(close, OrderStatus.FILLED).filled_qty == "5"
        self.ended(self.client.close_position("AAPL"), OrderStatus.FILLED)
        refused(404, 40410000, "position", lambda: self.client.get_open_position("AAPL"))
        refused(404, 40410000, "position", lambda: self.client.close_position("AAPL"))
        short = self.client.submit_order(MarketOrderRequest(symbol="TSLA", qty=2, side=SELL, time_in_force=DAY))
        self.ended(short, OrderStatus.FILLED)
        position = self.client.get_open_position("TSLA")
        assert position.qty == "-2" and position.side.value == "short"

    def activities_by_page(self):
        since = self.client.get_clock().timestamp
        bought = [self.buy(qty) for qty in (1, 2, 3)]
        asked = {"direction": "asc", "after": since.isoformat(), "page_size": 2}
        rows = self.client.get("/account/activities/FILL", asked)
        rows += self.client.get("/account/activities/FILL", {**asked, "page_token": rows[-1]["id"]})
        fills = [TradeActivity(**row) for row in rows]
        assert [fill.order_id for fill in fills] == [order.id for order in bought]
        assert [(fill.qty, fill.cum_qty, fill.leaves_qty) for fill in fills] == [(n, n, 0) for n in (1, 2, 3)]
        assert all(fill.type.value == "fill" and fill.price > 0 for fill in fills)

    # Refusals.

    def refusals_have_a_code(self):
        order = self.rest()
        refused(422, 40010001, "client_order_id must be unique", lambda: self.rest(name=order.client_order_id))
        self.client.cancel_order_by_id(order.id)
        refused(422, 40010001, "client_order_id must be unique", lambda: self.rest(name=order.client_order_id))
        refused(403, 40310000, "insufficient buying power", lambda: self.rest(limit=90, qty=1_000_000))
        refused(422, 42210000, "sub-penny", lambda: self.rest(limit=1.005))
        refused(404, 40410000, "not found", lambda: self.client.get_order_by_client_id("never"))
        refused(422, 42210000, "qty", lambda: self.client.post(
            "/orders", {"symbol": "AAPL", "side": "buy", "type": "market", "time_in_force": "day"}))
        self.rest(symbol="MSFT", limit=2)
        market = MarketOrderRequest(symbol="MSFT", qty=1, side=SELL, time_in_force=DAY)
        refused(403, 40310000, "wash trade", lambda: self.client.submit_order(market))
        self.buy(5)
        held = refused(403, 40310000, "insufficient qty", lambda: self.rest(side=SELL, limit=900, qty=6))
        body = json.loads(str(held))
        assert (body["existing_qty"], body["held_for_orders"], body["available"]) == ("5", "0", "5")
        wrong = TradingClient(KEY, "guess", paper=True, url_override=self.venue.url)
        refused(401, 40110000, "not authorized", wrong.get_account)
        self.venue.admin("PUT", "/faults", {"revoked": [KEY], "revoked_status": 403})
        try:
            self.client.get_account()
        except APIError as error:
            assert error.status_code == 403 and "code" not in json.loads(str(error))
        else:
            raise AssertionError("a revoked key was taken")

    def what_a_lost_answer_leaves_behind(self):
        """The client sends a POST again when it is answered by 504; then the id is taken."""
        self.client._retry_wait = 0
        self.venue.admin("PUT", "/faults", {"next": [{"fault": "error_after"}]})
        name = self.name()
        refused(422, 40010001, "must be unique", lambda: self.rest(name=name))
        assert self.client.get_order_by_client_id(name).status == OrderStatus.NEW
        self.venue.admin("PUT", "/faults", {"next": [{"fault": "cut_after"}, {"fault": "cut_before"}]})
        for fate in ("taken", "lost"):
            name = self.name()
            try:
                self.rest(name=name)
            except APIError as error:
                raise AssertionError("the connection should have been cut") from error
            except OSError:  # as requests' own errors are
                pass
            else:
                raise AssertionError("an answer came")
            if fate == "taken":
                assert self.client.get_order_by_client_id(name).status == OrderStatus.NEW
            else:
                refused(404, 40410000, "not found", lambda: self.client.get_order_by_client_id(name))

    # The stream.

    def the_stream_tells_all(self):
        told = queue.Queue()
        url = self.venue.url.replace("http", "ws") + "/stream"
        stream = TradingStream(KEY, SECRET, paper=True, url_override=url)

        async def heard(update):
            told.put(update)

        stream.subscribe_trade_updates(heard)
        thread = threading.Thread(target=lambda: asyncio.run(stream._run_forever()), daemon=True)
        thread.start()

        def probed():
            self.rest(symbol="NVDA")
            return not told.empty() or None

        eventually("the stream listens", probed)
        self.client.cancel_orders()
        eventually("no open orders", lambda: not self.client.get_orders())

        def until(order_id, last):
            seen = []
            while not seen or seen[-1].event != last:
                update = told.get(timeout=SOON)
                if update.order.id == order_id:
                    seen.append(update)
            return seen

        order = self.rest(qty=10)
        self.venue.admin("POST", f"/orders/{order.id}/fill", {"qty": "4", "price": "1.25"})
        self.client.cancel_order_by_id(order.id)
        seen = until(order.id, "canceled")
        assert [update.event for update in seen] == ["pending_new", "new", "partial_fill", "canceled"]
        part = seen[2]
        assert (part.qty, part.price, part.position_qty) == (4, 1.25, 4) and part.order.filled_qty == "4"
        assert part.execution_id and part.order.status == OrderStatus.PARTIALLY_FILLED
        old = self.rest(qty=5)
        new = self.client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=6))
        assert until(old.id, "replaced")[-1].order.replaced_by == new.id
        self.venue.admin("POST", f"/orders/{new.id}/fill")
        events = [update.event for update in until(new.id, "fill")]
        assert events == ["pending_new", "new", "fill"], events
        # The client comes back by itself after a cut, and only what happens then is told.
        self.venue.admin("POST", "/stream/cut")
        while not told.empty():
            told.get()
        eventually("the stream listens again", probed)
        stream.stop()
        thread.join(SOON)
        assert not thread.is_alive()

    def the_stream_refuses_a_wrong_key(self):
        url = self.venue.url.replace("http", "ws") + "/stream"
        stream = TradingStream(KEY, "guess", paper=True, url_override=url)

        async def knock():
            await stream._connect()
            try:
                await stream._auth()
            except ValueError as error:
                return str(error)
            finally:
                await stream.close()

        assert asyncio.run(knock()) == "failed to authenticate"


def main():
    with tempfile.TemporaryDirectory() as folder:
        venue = Venue(sys.argv[1], folder)
        failed = []
        try:
            scenes = Scenes(venue)
            names = [name for name, scene in vars(Scenes).items() if callable(scene)]
            aside = {"__init__", "name", "rest", "buy", "ended", "flat"}
            names = [name for name in names if name not in aside and (len(sys.argv) < 3 or sys.argv[2] in name)]
            for name in names:
                try:
                    scenes.flat()
                    getattr(scenes, name)()
                    print(f"ok      {name}")
                except Exception:
                    traceback.print_exc()
                    print(f"FAILED  {name}")
                    failed.append(name)
        finally:
            venue.stop()
    assert names, "nothing was tried"
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
