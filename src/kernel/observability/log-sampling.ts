/**
 * Whether to log the nth occurrence of something that outsiders can cause as often as they like: the first hundred, then
 * every thousandth. Otherwise anybody who can write to Redis could fill the disk with log lines.
 */
export function isWorthALine(nth: number): boolean {
  return nth <= 100 || nth % 1_000 === 0
}
