"""A storage backend for Plinth in Python: a process that answers gRPC.

It keeps items in a dict. All that it has to know is in abi/SPEC.md, chapters 4 to 6
and 8; backend_pb2 is generated from the schema there.
"""

import collections
import heapq
import os
import shutil
import signal
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from plinth.backend.v1 import backend_pb2 as pb
from plinth.backend.v1 import backend_pb2_grpc as rpc

VERSIONS, TTL, EXPIRY_ON_READ, ATOMIC, CHECK_ONLY, REVERSE, SNAPSHOT_GET, CHANGES = (1 << bit for bit in (0, 1, 2, 3, 4, 7, 9, 13))
KEY, VALUE, OPS, WRITE_BYTES, GET_KEYS, PAGE = 1 << 10, 1 << 20, 1000, 4 << 20, 1000, 100
KEPT, KEPT_BYTES = 10_000, 16 << 20  # changes, and bytes of them


class Refused(Exception):
    """A call that is answered with an Error."""

    def __init__(self, code, message="", **more):
        super().__init__(message)
        self.error = pb.Error(code=code, message=message, **more)


def over(kind, limit, actual):
    return Refused(pb.CODE_SIZE_LIMIT, limit=pb.Error.Limit(kind=kind, max=limit, actual=actual))


class Backend(rpc.BackendServicer):
    def __init__(self):
        self.lock = threading.Condition()  # notified of each change
        self.items = {}
        self.expiring = []  # a heap of (expires_at, key)
        self.log = collections.deque()  # the latest changes, in the order of versions
        self.log_bytes = 0
        self.now = 0  # the host's clock: it never goes back

    # The calls.

    def Open(self, request, context):
        self.now = request.now
        self.version = request.now << 20  # it forgets: no version of an earlier life comes again
        self.oldest = self.version  # all changes after it are in the log
        return self.Try(request, context)

    def Try(self, request, context):
        """Judges the configuration and says what a backend with it is, and opens nothing."""
        if request.config not in (b"", b"{}", b"null"):
            return self.fail(context, Refused(pb.CODE_INVALID_ARGUMENT, "this plugin has no settings"))
        return pb.Info(
            name="python", version="1", incarnation=request.incarnation,
            caps=VERSIONS | TTL | EXPIRY_ON_READ | ATOMIC | CHECK_ONLY | REVERSE | SNAPSHOT_GET | CHANGES,
            limits=pb.Limits(key=KEY, value=VALUE, ops=OPS, write_bytes=WRITE_BYTES, get_keys=GET_KEYS, changes=KEPT))

    def Get(self, request, context):
        return self.answer(context, self.get, request)

    def GetMany(self, request, context):
        return self.answer(context, self.get_many, request)

    def Scan(self, request, context):
        return self.answer(context, self.scan, request)

    def Apply(self, request, context):
        return self.answer(context, self.apply, request)

    def Changes(self, request, context):
        return self.answer(context, lambda request, budget: self.changes(request, budget, context.is_active), request)

    def Health(self, request, context):
        if request.probe not in (pb.PROBE_LIVENESS, pb.PROBE_READINESS, pb.PROBE_STARTUP):
            return self.fail(context, Refused(pb.CODE_INVALID_ARGUMENT, "there is no such probe"))
        return pb.Health(status=pb.STATUS_HEALTHY, details={"items": str(len(self.items))})

    def Close(self, request, context):
        return pb.CloseResponse()

    def answer(self, context, call, request):
        """Makes a call, one at a time, by the host's clock. The answer is not larger than is wanted."""
        said = dict(context.invocation_metadata())
        budget = int(said.get("plinth-budget", 64 << 20))
        with self.lock:
            self.now = max(self.now, int(said.get("plinth-now", 0)))
            try:
                answer = call(request, budget)
                if answer.ByteSize() > budget and not isinstance(answer, pb.ApplyResponse):  # a write cannot be taken back
                    raise Refused(pb.CODE_RANGE_LIMIT, limit=pb.Error.Limit(kind="answer bytes", max=budget, actual=answer.ByteSize()))
                return answer
            except Refused as refused:
                return self.fail(context, refused)

    def fail(self, context, refused):
        detail = any_pb2.Any(type_url="type.googleapis.com/plinth.backend.v1.Error", value=refused.error.SerializeToString())
        status = rpc_status(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status),))
        context.abort(grpc.StatusCode.UNKNOWN, str(refused))

    # What they do.

    def live(self, key):
        item = self.items.get(key)
        return item if item and (item.expires_at == 0 or item.expires_at > self.now) else None

    def check_key(self, key):
        if len(key) > KEY:
            raise over("key", KEY, len(key))

    def get(self, request, budget):
        self.check_key(request.key)
        item = self.live(request.key)
        if item is None:
            raise Refused(pb.CODE_NOT_FOUND)
        return pb.Item(value=item.value, version=item.version, expires_at=item.expires_at)

    def get_many(self, request, budget):
        if len(request.keys) > GET_KEYS:
            raise over("keys", GET_KEYS, len(request.keys))
        for key in request.keys:
            self.check_key(key)
        return pb.Items(items=[item for item in map(self.live, request.keys) if item])

    def scan(self, request, budget):
        if request.at_version:
            raise Refused(pb.CODE_UNSUPPORTED)
        page, size, room = pb.Page(version=self.version), 0, budget - 64  # for the version, and the frame of the answer
        for key in sorted(self.within(request.start, request), reverse=request.reverse):
            item = self.live(key)
            if item is None:
                continue
            if request.keys_only:
                item = pb.Item(key=key, version=item.version, expires_at=item.expires_at)
            size += len(key) + len(item.value)
            room -= item.ByteSize() + 8
            full = size > (request.max_bytes or 1 << 20) or room < len(key) + 8  # the bound to go on from needs room too
            if len(page.items) == (request.limit or PAGE) or page.items and full:
                page.next = key + b"\0" if request.reverse else key
                break
            page.items.append(item)
        return page

    def within(self, start, end):
        """The keys of a range, whose end may be absent."""
        return [key for key in self.items if key >= start and (not end.HasField("end") or key < end.end)]

    def changes(self, request, budget, wanted):
        """What came after a version. It waits for something, if the request says so."""
        self.expire()
        if request.from_now:
            return pb.ChangePage(next=self.version)
        end = time.monotonic() + request.wait_ms / 1000
        while True:
            if not self.oldest <= request.after <= self.version:
                raise Refused(pb.CODE_VERSION_GONE, f"changes are kept from version {self.oldest} to {self.version}")
            page = self.changes_page(request, budget)
            left = end - time.monotonic()
            if page.changes or left <= 0 or not wanted():
                return page
            self.lock.wait(min(left, 0.2))  # others are answered meanwhile

    def changes_page(self, request, budget):
        page, size, room = pb.ChangePage(next=request.after), 0, budget - 64
        whole = 0  # changes of the write sets before
        for change in self.log:
            if change.version <= request.after:
                continue
            if change.version > page.next and page.changes:
                whole = len(page.changes)
            change = self.clipped(change, request)
            if change is None:
                continue
            size += len(change.key) + len(change.end) + len(change.value)
            room -= change.ByteSize() + 8
            full = len(page.changes) >= (request.limit or 1000) or size > (request.max_bytes or 1 << 20) or room < 0
            if full and whole:  # a write set is never torn, and one of them always given
                del page.changes[whole:]
                page.next = page.changes[-1].version
                return page
            page.changes.append(change)
            page.next = change.version
        page.next = self.version
        return page

    def clipped(self, change, request):
        """What of a change lies in the range of a request: the change, a part of it, or None."""
        if change.kind != pb.CHANGE_KIND_DELETE_RANGE:
            inside = change.key >= request.start and (not request.HasField("end") or change.key < request.end)
            return change if inside else None
        own = pb.Change()
        own.CopyFrom(change)
        own.key = max(change.key, request.start)
        if request.HasField("end") and (not change.HasField("end") or request.end < change.end):
            own.end = request.end
        return None if own.HasField("end") and own.end <= own.key else own

    def keep(self, changes):
        """Keeps the changes of one version for those who follow, and forgets the oldest of too many."""
        for change in changes:
            self.log.append(change)
            self.log_bytes += change.ByteSize()
        while len(self.log) > KEPT or self.log_bytes > KEPT_BYTES or self.log and self.log[0].version <= self.oldest:
            gone = self.log.popleft()
            self.log_bytes -= gone.ByteSize()
            self.oldest = gone.version
        self.lock.notify_all()

    def expire(self):
        """Drops what has expired: each item is a change with a version of its own."""
        while self.expiring and self.expiring[0][0] <= self.now:
            at, key = heapq.heappop(self.expiring)
            item = self.items.get(key)
            if item is not None and item.expires_at == at:
                del self.items[key]
                self.version += 1
                self.keep([pb.Change(kind=pb.CHANGE_KIND_EXPIRED, key=key, version=self.version)])

    def apply(self, request, budget):
        self.check(request)
        for index, check in enumerate(request.checks):
            if not self.holds(check):
                raise Refused(pb.CODE_CONFLICT, check=index + 1)
        changed = False
        for op in request.ops:
            touched = self.within(op.key, op) if op.kind == pb.OP_KIND_DELETE_RANGE else [op.key]
            for key in touched:
                if self.live(key) is not None:  # what has expired is left for those who follow
                    changed = True
                    del self.items[key]
            if op.kind == pb.OP_KIND_PUT and (op.expires_at == 0 or op.expires_at > self.now):
                changed = True
                self.items[op.key] = pb.Item(key=op.key, value=op.value, version=self.version + 1, expires_at=op.expires_at)
                if op.expires_at:
                    heapq.heappush(self.expiring, (op.expires_at, op.key))
        if changed:
            self.version += 1
            self.keep([self.change(op) for op in request.ops])
        return pb.ApplyResponse(version=self.version)

    def change(self, op):
        """The change that an op has made at the current version."""
        change = pb.Change(key=op.key, version=self.version)
        if op.kind == pb.OP_KIND_DELETE_RANGE:
            change.kind = pb.CHANGE_KIND_DELETE_RANGE
            if op.HasField("end"):
                change.end = op.end
        elif op.kind == pb.OP_KIND_PUT and (op.expires_at == 0 or op.expires_at > self.now):
            change.kind, change.value, change.expires_at = pb.CHANGE_KIND_PUT, op.value, op.expires_at
        else:
            change.kind = pb.CHANGE_KIND_DELETE
        return change

    def holds(self, check):
        item = self.live(check.key)
        if check.kind == pb.CHECK_KIND_ABSENT:
            return item is None
        if check.kind == pb.CHECK_KIND_PRESENT:
            return item is not None
        if check.kind == pb.CHECK_KIND_VALUE:
            return item is not None and item.value == check.value
        return item is not None and item.version == check.version

    def check(self, request):
        """Refuses what may not be asked, before anything is done: first what is too large, then what is wrong."""
        if len(request.ops) + len(request.checks) > OPS:
            raise over("ops", OPS, len(request.ops) + len(request.checks))
        size = 0
        for part in [*request.checks, *request.ops]:
            check = isinstance(part, pb.Check)
            if part.kind != (pb.CHECK_KIND_RANGE if check else pb.OP_KIND_DELETE_RANGE):
                self.check_key(part.key)  # a bound may have any length
            if len(part.value) > VALUE and not check:  # so may a value that is compared
                raise over("value", VALUE, len(part.value))
            size += len(part.key) + len(part.value) + len(part.end)
        if size > WRITE_BYTES:
            raise over("write set bytes", WRITE_BYTES, size)
        if len(request.id) not in (0, 16):
            raise Refused(pb.CODE_INVALID_ARGUMENT, "an id has 16 bytes")
        for check in request.checks:
            if check.kind not in range(pb.CHECK_KIND_ABSENT, pb.CHECK_KIND_RANGE + 1):
                raise Refused(pb.CODE_INVALID_ARGUMENT, "there is no such check")
            if check.kind == pb.CHECK_KIND_VERSION and check.version == 0:
                raise Refused(pb.CODE_INVALID_ARGUMENT, "a check of version 0")
        for op in request.ops:
            if op.kind not in (pb.OP_KIND_PUT, pb.OP_KIND_DELETE, pb.OP_KIND_DELETE_RANGE):
                raise Refused(pb.CODE_INVALID_ARGUMENT, "there is no such op")
            if op.expires_at < 0:
                raise Refused(pb.CODE_INVALID_ARGUMENT, "a negative expiry")
            put, ranged = op.kind == pb.OP_KIND_PUT, op.kind == pb.OP_KIND_DELETE_RANGE
            if op.HasField("end") and not ranged or not put and (op.value or op.expires_at):
                raise Refused(pb.CODE_INVALID_ARGUMENT, "a field that the kind of the op does not use")
        if any(request.id):
            raise Refused(pb.CODE_UNSUPPORTED, "write sets with an id")
        if any(check.kind == pb.CHECK_KIND_RANGE for check in request.checks):
            raise Refused(pb.CODE_UNSUPPORTED, "range checks")


def rpc_status(detail):
    """A google.rpc.Status of code UNKNOWN with one detail, as bytes."""
    inner = detail.SerializeToString()
    length, prefix = len(inner), b""
    while length >= 0x80:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return b"\x08\x02\x1a" + prefix + bytes([length]) + inner


def main():
    if os.environ.get("PLINTH_PLUGIN") != "plinth.backend.v1":
        sys.exit("This is a Plinth plugin: a host starts it. See README.md.")
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32),
                         options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    rpc.add_BackendServicer_to_server(Backend(), server)
    alive = health.HealthServicer()
    alive.set("plugin", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(alive, server)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # the host ends it, by the end of standard input
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "python")
    server.add_insecure_port("unix:" + path)
    server.start()
    print(f"1|1|unix|{path}|grpc|", flush=True)
    sys.stdin.read()  # it ends when the host does, or wants this process to
    server.stop(grace=1).wait()
    shutil.rmtree(os.environ["PLINTH_RUN_DIR"], ignore_errors=True)


if __name__ == "__main__":
    main()
