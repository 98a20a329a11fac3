// Big-endian numbers, as networks have them.

export function load16(ptr: usize): i32 {
  return bswap<u16>(load<u16>(ptr));
}

export function load32(ptr: usize): u32 {
  return bswap<u32>(load<u32>(ptr));
}

export function loadF32(ptr: usize): f32 {
  return reinterpret<f32>(bswap<u32>(load<u32>(ptr)));
}

export function loadF64(ptr: usize): f64 {
  return reinterpret<f64>(bswap<u64>(load<u64>(ptr)));
}

export function store16(ptr: usize, value: i32): void {
  store<u16>(ptr, bswap<u16>(<u16>value));
}

export function store32(ptr: usize, value: u32): void {
  store<u32>(ptr, bswap<u32>(value));
}

export function storeF32(ptr: usize, value: f32): void {
  store<u32>(ptr, bswap<u32>(reinterpret<u32>(value)));
}

export function storeF64(ptr: usize, value: f64): void {
  store<u64>(ptr, bswap<u64>(reinterpret<u64>(value)));
}
