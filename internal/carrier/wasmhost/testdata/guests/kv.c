// A backend in C: a hash map in linear memory, with versions and conditional
// writes, without expiry. Nothing is allocated for a request but the items that it
// stores, and a get answers a view of the stored item. A scan looks at all of them.
#include "plinth.h"

enum {
  MAX_KEY = 1 << 10, MAX_VALUE = 256 << 10, MAX_WRITE = 1 << 20, MAX_KEYS = 512, MAX_PARTS = 1024,
  REQUEST = MAX_WRITE + (128 << 10), // the largest request within these, and what it is wrapped in
  ANSWER = 1 << 20,
  SMALL = 128, // an answer that carries no items is smaller
};
static u8 request[REQUEST], answer[ANSWER];

// ---- memory: free lists of sizes in steps of 16 bytes, then of powers of two

extern u8 __heap_base;
static u8 *top;
static u32 limit;
typedef struct node { struct node *next; } node;
static node *unused[64 + 32];

static u32 list_of(u32 n, u32 *size) {
  u32 l = (n + 15) / 16;
  *size = l * 16;
  if (l < 64) return l;
  for (l = 10; (1u << l) < n; l++) {}
  *size = 1u << l;
  return 64 + l;
}

static void *alloc(u32 n) {
  u32 size, l = list_of(n, &size);
  if (unused[l]) {
    node *p = unused[l];
    unused[l] = p->next;
    return p;
  }
  if (!top) {
    top = (u8 *)(((u32)&__heap_base + 15) & ~15u);
    limit = __builtin_wasm_memory_size(0) << 16;
  }
  if (size > limit - (u32)top) {
    u32 pages = (size + 0xffff) >> 16;
    if (__builtin_wasm_memory_grow(0, pages) == (u32)-1) return 0;
    limit += pages << 16;
  }
  u8 *p = top;
  top += size;
  return p;
}

static void release(void *p, u32 n) {
  u32 size, l = list_of(n, &size);
  ((node *)p)->next = unused[l];
  unused[l] = p;
}

// ---- the map: open addressing, linear probing

// item is stored as a get_many answers it: an element of Items, size bytes. Its key
// is in there, and from message on there is what a get answers, an Item without
// its key: the value, and then the version.
typedef struct { u32 size, key, key_n, message; u8 bytes[]; } item;
// entry is a slot of the table; an empty one has no item.
typedef struct { u32 hash; item *item; } entry;
static entry *table;
static u32 mask, count;
static u64 seed, version;

INLINE u32 size_of(const item *it) { return sizeof *it + it->size; }
INLINE const u8 *message_of(const item *it) { return it->bytes + it->message; }
INLINE u32 message_size(const item *it) { return it->size - it->message; }

INLINE u32 hash_of(const u8 *p, u32 n) {
  u64 h = seed ^ n;
  for (; n >= 8; n -= 8, p += 8) {
    h = (h ^ load64(p)) * 0xff51afd7ed558ccdull;
    h ^= h >> 32;
  }
  while (n--) h = (h ^ *p++) * 0x9e3779b97f4a7c15ull;
  h = (h ^ h >> 29) * 0xff51afd7ed558ccdull;
  return (u32)(h >> 32);
}

INLINE int equal(const u8 *a, const u8 *b, u32 n) {
  for (; n >= 8; n -= 8, a += 8, b += 8)
    if (load64(a) != load64(b)) return 0;
  while (n--)
    if (*a++ != *b++) return 0;
  return 1;
}

// slot is where the key is, or where it would go.
INLINE u32 slot(u32 hash, const u8 *key, u32 n) {
  u32 i = hash & mask;
  for (; table[i].item; i = (i + 1) & mask)
    if (table[i].hash == hash && table[i].item->key_n == n && equal(table[i].item->bytes + table[i].item->key, key, n)) break;
  return i;
}

INLINE item *find(const u8 *key, u32 n) { return table[slot(hash_of(key, n), key, n)].item; }

// grow makes room for more items. False: no space.
static int grow(u32 more) {
  u32 cap = table ? mask + 1 : 1024;
  while ((count + more) * 4ull > cap * 3ull) cap *= 2;
  if (table && cap == mask + 1) return 1;
  entry *fresh = alloc(cap * sizeof *fresh), *old = table;
  if (!fresh) return 0;
  __builtin_memset(fresh, 0, cap * sizeof *fresh);
  u32 n = old ? mask + 1 : 0;
  table = fresh;
  mask = cap - 1;
  for (u32 i = 0; i < n; i++) {
    if (!old[i].item) continue;
    u32 to = old[i].hash & mask;
    while (table[to].item) to = (to + 1) & mask;
    table[to] = old[i];
  }
  if (old) release(old, n * sizeof *old);
  return 1;
}

// drop empties a slot and closes the gap in the run of slots after it.
static void drop(u32 i) {
  release(table[i].item, size_of(table[i].item));
  count--;
  for (u32 next = (i + 1) & mask; table[next].item; next = (next + 1) & mask) {
    u32 home = table[next].hash & mask;
    if (((next - home) & mask) < ((next - i) & mask)) continue; // it is at home behind the gap
    table[i] = table[next];
    i = next;
  }
  table[i].item = 0;
}

static item *new_item(bytes key, bytes value, u64 at) {
  u32 message = 1 + varint_size(value.n) + value.n + 1 + varint_size(at);
  u32 all = 1 + varint_size(key.n) + key.n + message, size = 1 + varint_size(all) + all;
  item *it = alloc(sizeof *it + size);
  if (!it) return 0;
  *it = (item){.size = size, .key = size - message - key.n, .key_n = key.n, .message = size - message};
  u8 *p = it->bytes;
  *p++ = 1 << 3 | 2;
  p = put_field(put_varint(p, all), 1 << 3 | 2, key.p, key.n);
  p = put_field(p, 2 << 3 | 2, value.p, value.n);
  *p++ = 3 << 3;
  put_varint(p, at);
  return it;
}
static in reader_of(const item *it) { return (in){message_of(it) + 1, it->bytes + it->size, 0}; }
static bytes value_of(const item *it) {
  in r = reader_of(it);
  return read_bytes(&r);
}
static u64 version_of(const item *it) {
  in r = reader_of(it);
  read_bytes(&r);
  r.p++;
  return read_varint(&r);
}

// ---- requests. Each answers where its frame ends, or 0: it does not fit.

static u8 *get(const frame *f, u8 *to, u8 *end) {
  in r = f->message;
  bytes key = {0, 0};
  while (r.p < r.end) {
    u64 tag = read_varint(&r);
    if (tag == (1 << 3 | 2)) key = read_bytes(&r); else skip(&r, tag, 1 << 1);
  }
  if (r.bad) return put_error(to, f->id, SERIALIZATION, "the get cannot be read");
  item *it = find(key.p, key.n);
  if (!it) return bare_frame(to, f->id, NOT_FOUND);
  if (HEAD + message_size(it) > (u32)(end - to)) return 0;
  return end_frame(to, put_bytes(begin_frame(to, f->id, OK), message_of(it), message_size(it)));
}

static u8 *get_many(const frame *f, u8 *to, u8 *end) {
  const u8 *p = f->message.p, *stop = f->message.end;
  u8 *out = begin_frame(to, f->id, OK);
  u32 keys = 0;
  while (p < stop) {
    bytes key = {p + 2, p[1]};
    if (stop - p >= 2 && p[0] == (1 << 3 | 2) && key.n < 0x80 && key.n <= (u32)(stop - p) - 2) {
      p += 2 + key.n; // the usual key: below 128 bytes
    } else {
      in r = {p, stop, 0};
      u64 tag = read_varint(&r);
      int known = tag == (1 << 3 | 2);
      if (known) key = read_bytes(&r); else skip(&r, tag, 1 << 1);
      if (r.bad) return put_error(to, f->id, SERIALIZATION, "the get_many cannot be read");
      p = r.p;
      if (!known) continue;
    }
    if (++keys > MAX_KEYS) return put_error(to, f->id, SIZE_LIMIT, "too many keys");
    const item *it = find(key.p, key.n);
    if (!it) continue;
    if (it->size > (u32)(end - out)) return 0;
    out = put_bytes(out, it->bytes, it->size);
  }
  return end_frame(to, out);
}

static int compare(bytes a, bytes b) {
  u32 n = a.n < b.n ? a.n : b.n, i = 0;
  while (i < n && a.p[i] == b.p[i]) i++;
  return i < n ? a.p[i] - b.p[i] : a.n < b.n ? -1 : a.n > b.n;
}
INLINE bytes key_of(const item *it) { return (bytes){it->bytes + it->key, it->key_n}; }
static int in_range(bytes key, bytes start, bytes end, u32 has_end) {
  return compare(key, start) >= 0 && (!has_end || compare(key, end) < 0);
}

// scan keeps the first items of the range, in order, while it looks at all.
static u8 *scan(const frame *f, u8 *to, u8 *end) {
  enum { PAGE = 128 };
  static const item *found[PAGE];
  in r = f->message;
  bytes start = {0, 0}, stop = {0, 0};
  u64 limit = 0, max_bytes = 0, keys_only = 0, unsupported = 0;
  u32 has_stop = 0, n = 0, more = 0, i = 0;
  while (r.p < r.end) {
    u64 tag = read_varint(&r);
    switch (tag) {
    case 1 << 3 | 2: start = read_bytes(&r); break;
    case 2 << 3 | 2: stop = read_bytes(&r); has_stop = 1; break;
    case 3 << 3: limit = read_varint(&r); break;
    case 4 << 3: max_bytes = read_varint(&r); break;
    case 5 << 3: unsupported |= read_varint(&r); break; // reverse
    case 6 << 3: keys_only = read_varint(&r); break;
    case 7 << 3: unsupported |= read_varint(&r); break; // at_version
    default: skip(&r, tag, 0xfe);
    }
  }
  if (r.bad) return put_error(to, f->id, SERIALIZATION, "the scan cannot be read");
  if (unsupported) return put_error(to, f->id, UNSUPPORTED, "neither reverse nor old versions can be scanned");
  u32 want = limit && limit < PAGE ? (u32)limit : PAGE;
  for (u32 at = 0; at <= mask; at++) {
    const item *it = table[at].item;
    if (!it || !in_range(key_of(it), start, stop, has_stop)) continue;
    if (n == want) {
      more = 1;
      if (compare(key_of(it), key_of(found[n - 1])) > 0) continue;
      n--;
    }
    u32 place = n++;
    for (; place && compare(key_of(found[place - 1]), key_of(it)) > 0; place--) found[place] = found[place - 1];
    found[place] = it;
  }
  u8 *p = begin_frame(to, f->id, OK);
  u64 carried = 0;
  for (; i < n; i++) {
    const item *it = found[i];
    bytes key = key_of(it);
    carried += key.n + (keys_only ? 0 : value_of(it).n);
    if (i && max_bytes && carried > max_bytes) break;
    u32 size = keys_only ? key.n + 20 : it->size, next = more || i + 1 < n ? key.n + 8 : 0;
    if (size + next + 11 > (u32)(end - p)) { // the item, where to go on, and the version
      if (!i) return 0;
      break;
    }
    if (!keys_only) { p = put_bytes(p, it->bytes, it->size); continue; }
    u64 at = version_of(it);
    *p++ = 1 << 3 | 2;
    p = put_varint(p, 1 + varint_size(key.n) + key.n + 1 + varint_size(at));
    p = put_field(p, 1 << 3 | 2, key.p, key.n);
    *p++ = 3 << 3;
    p = put_varint(p, at);
  }
  if (more || i < n) {
    bytes last = key_of(found[i - 1]);
    *p++ = 2 << 3 | 2;
    p = put_bytes(put_varint(p, last.n + 1), last.p, last.n);
    *p++ = 0; // the first key after the last
  }
  *p++ = 3 << 3;
  return end_frame(to, put_varint(p, version));
}

// part is a check, or an op with the item that it stores. Kinds are wire-stable.
typedef struct { u32 kind, hash, has_end, drops; bytes key, end, value; u64 number; item *store; } part;
enum { ABSENT = 1, PRESENT, VALUE, VERSION, RANGE };
enum { PUT = 1, DELETE, DELETE_RANGE };
static part parts[MAX_PARTS], *checks = parts, *ops;
static u32 n_checks, n_ops;

static part read_part(bytes b, u32 *bad) {
  in r = {b.p, b.p + b.n, 0};
  part c = {0};
  while (r.p < r.end) {
    u64 tag = read_varint(&r);
    switch (tag) {
    case 1 << 3: c.kind = (u32)read_varint(&r); break;
    case 2 << 3 | 2: c.key = read_bytes(&r); break;
    case 3 << 3 | 2: c.end = read_bytes(&r); c.has_end = 1; break;
    case 4 << 3 | 2: c.value = read_bytes(&r); break;
    case 5 << 3: c.number = read_varint(&r); break;
    default: skip(&r, tag, 0x3e);
    }
  }
  *bad |= r.bad;
  c.hash = hash_of(c.key.p, c.key.n);
  return c;
}

// read_parts reads first all checks and then all ops into parts. It answers an
// error code; a count that is too large is seen before anything is stored.
static u32 read_parts(in message) {
  u32 bad = 0, named = 0;
  n_checks = n_ops = 0;
  for (u32 tag_of = 2; tag_of <= 3; tag_of++) {
    ops = parts + n_checks;
    in r = message;
    while (r.p < r.end) {
      u64 tag = read_varint(&r);
      if (tag == (2 << 3 | 2) || tag == (3 << 3 | 2)) {
        bytes b = read_bytes(&r);
        if (tag >> 3 != tag_of) continue;
        if (n_checks + n_ops == MAX_PARTS) return SIZE_LIMIT;
        parts[n_checks + n_ops] = read_part(b, &bad);
        if (tag_of == 2) n_checks++; else n_ops++;
      } else if (tag == (1 << 3 | 2)) {
        bytes id = read_bytes(&r);
        if (id.n != 0 && id.n != 16) bad = 1;
        for (u32 i = 0; i < id.n; i++) named |= id.p[i];
      } else skip(&r, tag, 0xe);
    }
    bad |= r.bad;
  }
  return bad ? SERIALIZATION : named ? UNSUPPORTED : OK;
}

// refusal is what is wrong with the write set itself: first its sizes, then its
// sense, then what is not to be had here.
static u32 refusal(void) {
  u32 total = 0, code = OK;
  for (u32 i = 0; i < n_checks + n_ops; i++) {
    part *c = &parts[i];
    int range = i < n_checks ? c->kind == RANGE : c->kind == DELETE_RANGE;
    if (c->key.n > MAX_KEY && !range) return SIZE_LIMIT;
    if (c->value.n > MAX_VALUE && i >= n_checks) return SIZE_LIMIT;
    total += c->key.n + c->end.n + c->value.n; // far below 2³²: all of it was in the buffer
  }
  if (total > MAX_WRITE) return SIZE_LIMIT;
  for (u32 i = 0; i < n_checks; i++) {
    part *c = &checks[i];
    if (c->kind < ABSENT || c->kind > RANGE || (c->kind == VERSION && c->number == 0)) return INVALID_ARGUMENT;
    if (c->kind == RANGE) code = UNSUPPORTED;
  }
  for (u32 i = 0; i < n_ops; i++) {
    part *o = &ops[i];
    if (o->kind < PUT || o->kind > DELETE_RANGE) return INVALID_ARGUMENT;
    if ((o->kind != DELETE_RANGE && o->has_end) || (o->kind != PUT && (o->value.n || o->number))) return INVALID_ARGUMENT;
    if (o->number >> 63) return INVALID_ARGUMENT; // a time before 1970
    if (o->number) code = UNSUPPORTED; // an expiry
  }
  return code;
}

static int holds(const part *c) {
  item *it = find(c->key.p, c->key.n);
  if (c->kind == ABSENT || !it) return c->kind == ABSENT && !it;
  bytes v = value_of(it);
  if (c->kind == VALUE) return v.n == c->value.n && equal(v.p, c->value.p, v.n);
  return c->kind == PRESENT || version_of(it) == c->number;
}

static int covers(const part *range, bytes key) { return in_range(key, range->key, range->end, range->has_end); }

// superseded tells whether a later op does away with what op i does.
static int superseded(u32 i) {
  part *o = &ops[i];
  for (u32 j = i + 1; j < n_ops; j++) {
    part *p = &ops[j];
    if (p->kind == DELETE_RANGE ? covers(p, o->key)
                                : p->hash == o->hash && p->key.n == o->key.n && equal(p->key.p, o->key.p, o->key.n)) return 1;
  }
  return 0;
}

// drop_range empties the slots of a range; without really, it tells whether there are any.
static int drop_range(const part *range, int really) {
  for (u32 i = 0; i <= mask; i++)
    while (table[i].item && covers(range, key_of(table[i].item))) {
      if (!really) return 1;
      drop(i); // which may have put another item here
    }
  return 0;
}

// apply does all or nothing: everything that can fail comes before the first change.
static u8 *apply(const frame *f, u8 *to) {
  u32 code = read_parts(f->message), refused = code == SERIALIZATION || code == SIZE_LIMIT ? code : refusal();
  if (refused == OK) refused = code;
  if (refused != OK) return put_error(to, f->id, refused, refused == SIZE_LIMIT ? "the write set is too large" : "the write set cannot be done here");
  for (u32 i = 0; i < n_checks; i++) {
    if (holds(&checks[i])) continue;
    u8 *m = begin_frame(to, f->id, CONFLICT);
    *m++ = 1 << 3;
    *m++ = CONFLICT;
    *m++ = 7 << 3;
    return end_frame(to, put_varint(m, i + 1));
  }
  int full = !grow(n_ops), changes = 0;
  for (u32 i = 0; i < n_ops; i++) {
    part *o = &ops[i];
    changes |= o->kind == PUT; // also one that is deleted again
    if (o->kind == DELETE_RANGE) o->drops = drop_range(o, 0);
    else if (superseded(i)) o->kind = 0;
    else if (o->kind == DELETE) o->drops = find(o->key.p, o->key.n) != 0;
    else if (!full) full = !(o->store = new_item(o->key, o->value, version + 1));
    changes |= o->drops;
  }
  if (full) {
    for (u32 i = 0; i < n_ops; i++)
      if (ops[i].store) release(ops[i].store, size_of(ops[i].store));
    return put_error(to, f->id, NO_SPACE, "the memory is full");
  }
  version += changes;
  for (u32 i = 0; i < n_ops; i++) {
    part *o = &ops[i];
    if (o->kind == DELETE_RANGE && o->drops) drop_range(o, 1);
    u32 at = slot(o->hash, o->key.p, o->key.n);
    if (o->kind == DELETE && table[at].item) drop(at);
    if (!o->store) continue;
    item *old = table[at].item;
    if (old) release(old, size_of(old)); else count++;
    table[at] = (entry){o->hash, o->store};
  }
  u8 *m = begin_frame(to, f->id, OK);
  *m++ = 1 << 3;
  return end_frame(to, put_varint(m, version));
}

static u8 *health(const frame *f, u8 *to) {
  in r = f->message;
  u64 probe = 0;
  while (r.p < r.end) {
    u64 tag = read_varint(&r);
    if (tag == 1 << 3) probe = read_varint(&r); else skip(&r, tag, 1 << 1);
  }
  if (r.bad || probe < 1 || probe > 3) return put_error(to, f->id, INVALID_ARGUMENT, "unknown probe");
  u8 *m = begin_frame(to, f->id, OK);
  *m++ = 1 << 3;
  *m++ = 1; // HEALTHY
  return end_frame(to, m);
}

static u8 *respond(const frame *f, u8 *to, u8 *end) {
  if (f->bad) return put_error(to, f->id, f->bad, "the frame's head cannot be read");
  switch (f->op) {
  case GET: return get(f, to, end);
  case GET_MANY: return get_many(f, to, end);
  case SCAN: return scan(f, to, end);
  case APPLY: return apply(f, to);
  case HEALTH: return health(f, to);
  }
  return put_error(to, f->id, UNSUPPORTED, "this backend cannot do it");
}

// ---- the functions of the ABI

static u64 kv_buffer(u32 n) { return n <= REQUEST ? view(request, REQUEST) : bare(SIZE_LIMIT); }

static int empty_object(bytes b) {
  u32 n = 0;
  for (u32 i = 0; i < b.n; i++) {
    u8 c = b.p[i];
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
    if (n > 1 || c != "{}"[n++]) return 0;
  }
  return n != 1;
}

static u64 kv_info(const opening *o, u64 more_caps) {
  version = (u64)o->now << 20;
  if (o->incarnation.n == 16) seed = load64(o->incarnation.p);
  if (!grow(0)) return bare(NO_SPACE);
  u8 *p = put_field(answer, 1 << 3 | 2, "kv", 2);
  p = put_field(p, 2 << 3 | 2, "1.0.0", 5);
  p = put_field(p, 3 << 3 | 2, o->incarnation.p, o->incarnation.n);
  *p++ = 4 << 3;
  p = put_varint(p, more_caps | 1 << 0 | 1 << 3 | 1 << 4 | 1 << 9); // versions, atomic, check_only, snapshot_get
  u8 limits[32], *l = limits;
  const u32 numbers[] = {MAX_KEY, MAX_VALUE, MAX_PARTS, MAX_WRITE, MAX_KEYS};
  for (u32 i = 0; i < 5; i++) {
    *l++ = (u8)((i + 1) << 3);
    l = put_varint(l, numbers[i]);
  }
  p = put_field(p, 5 << 3 | 2, limits, (u32)(l - limits));
  return view(answer, (u32)(p - answer));
}

static u64 kv_open(u32 n) {
  opening o = read_open(request, n);
  if (o.bad) return bare(SERIALIZATION);
  if (!empty_object(o.config)) return bare(INVALID_ARGUMENT); // there is nothing to configure
  return kv_info(&o, 0);
}

static u64 kv_call(u32 n) {
  const u8 *p = request, *end = request + n;
  u8 *to = answer, *room = answer;
  while (p < end) {
    frame f;
    if (!read_frame(p, (u32)(end - p), &f)) return bare(SERIALIZATION);
    if (to == answer) room = answer + (f.budget && f.budget < ANSWER ? f.budget : ANSWER);
    else if (room - to < SMALL) break;
    u8 *after = respond(&f, to, room);
    if (!after) {
      if (to != answer) break; // alone, in the next call, it may fit
      after = bare_frame(to, f.id, RANGE_LIMIT);
    }
    to = after;
    p += f.size;
  }
  return view(answer, (u32)(to - answer));
}

static u64 kv_get(u32 n) {
  item *it = find(request, n);
  return it ? view(message_of(it), message_size(it)) : bare(NOT_FOUND);
}

#ifndef KV_INSIDE
EXPORT(plinth_abi_v1) void marker(void) {}
EXPORT(plinth_buffer) u64 plinth_buffer(u32 n) { return kv_buffer(n); }
EXPORT(plinth_open) u64 plinth_open(u32 n) { return kv_open(n); }
EXPORT(plinth_call) u64 plinth_call(u32 n) { return kv_call(n); }
EXPORT(plinth_get) u64 plinth_get(u32 n, i64 now) { return kv_get(n); }
EXPORT(plinth_close) u64 plinth_close(void) { return 0; }
#endif
