/**
 * Whether the nth of something that others can cause at will is logged: each of the first hundred, then every
 * thousandth. Who can write to Redis must not be able to fill a disk.
 */
export function isWorthALine(nth: number): boolean {
  return nth <= 100 || nth % 1_000 === 0
}
