/**
 * CRC-32 of IEEE 802.3, as in zip and png: finds every burst of wrong bits up to 32 long, and others but for one in 2³².
 * It guards against accidents, not against forgery. (crypto.subtle would be stronger, but is absent from pages served over http.)
 */
const table = /* @__PURE__ */ Int32Array.from({ length: 256 }, (_, byte) => {
  let c = byte;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

/** The checksum of all `parts` one after the other, as 8 hexadecimal digits. */
export function crc32(...parts: readonly Uint8Array[]): string {
  let c = -1;
  for (const part of parts) for (let i = 0; i < part.length; i++) c = (c >>> 8) ^ table[(c ^ part[i]!) & 255]!;
  return (~c >>> 0).toString(16).padStart(8, '0');
}
