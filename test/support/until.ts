/** Waits for a condition that must come true, by default at most 30 s. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  limitMs = 30_000,
): Promise<void> {
  const limit = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > limit) throw new Error(`Waited ${limitMs / 1_000} s in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
