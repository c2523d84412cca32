// A hash map behind Extism's kernel, whose imports are declared by hand: the
// same work as internal/carrier/wasmhost/testdata/guests/kv.c does behind ours.
// A get's input is the key; a set's is a key of 16 bytes, then the value.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
#define EXPORT(n) __attribute__((export_name(n)))
#define IMPORT(n) __attribute__((import_module("extism:host/env"), import_name(n)))

IMPORT("input_length") u64 input_length(void);
IMPORT("input_load_u8") u32 input_load_u8(u64);
IMPORT("input_load_u64") u64 input_load_u64(u64);
IMPORT("alloc") u64 kernel_alloc(u64);
IMPORT("store_u8") void store_u8(u64, u32);
IMPORT("store_u64") void store_u64(u64, u64);
IMPORT("output_set") void output_set(u64, u64);

#define SLOTS (1 << 15)
#define KEY 16
extern u8 __heap_base;
static struct slot { u8 used, key[KEY]; u32 size; u8 *value; u32 room; } slots[SLOTS];
static u8 request[1 << 20];
static u32 top, limit;

static u8 *take(u32 n) {
  if (!top) { top = ((u32)&__heap_base + 15) & ~15u; limit = __builtin_wasm_memory_size(0) << 16; }
  u32 p = top;
  top += (n + 15) & ~15u;
  if (top > limit) {
    u32 pages = (top - limit + 65535) >> 16;
    if (__builtin_wasm_memory_grow(0, pages) == (u32)-1) __builtin_trap();
    limit += pages << 16;
  }
  return (u8 *)p;
}

static int same(const u8 *a, const u8 *b) {
  return *(const u64 *)a == *(const u64 *)b && *(const u64 *)(a + 8) == *(const u64 *)(b + 8);
}

static struct slot *find(const u8 *key) {
  u64 h = (*(const u64 *)key ^ *(const u64 *)(key + 8) * 31) * 0xff51afd7ed558ccdull;
  for (u32 i = (u32)(h >> 40);; i++) {
    struct slot *s = &slots[i & (SLOTS - 1)];
    if (!s->used || same(s->key, key)) return s;
  }
}

static u32 input(void) {
  u32 n = (u32)input_length(), i = 0;
  if (n > sizeof request) __builtin_trap();
  for (; i + 8 <= n; i += 8) *(u64 *)(request + i) = input_load_u64(i);
  for (; i < n; i++) request[i] = (u8)input_load_u8(i);
  return n;
}

EXPORT("get") int get(void) {
  input();
  struct slot *s = find(request);
  if (!s->used) return 2;
  u64 out = kernel_alloc(s->size);
  u32 i = 0;
  for (; i + 8 <= s->size; i += 8) store_u64(out + i, *(u64 *)(s->value + i));
  for (; i < s->size; i++) store_u8(out + i, s->value[i]);
  output_set(out, s->size);
  return 0;
}

EXPORT("set") int set(void) {
  u32 n = input() - KEY;
  struct slot *s = find(request);
  if (!s->used) { s->used = 1; for (u32 i = 0; i < KEY; i++) s->key[i] = request[i]; }
  if (s->room < n) { s->value = take(n); s->room = n; }
  for (u32 i = 0; i < n; i++) s->value[i] = request[KEY + i];
  s->size = n;
  return 0;
}
