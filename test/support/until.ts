/** Waits for a condition that must come true, at most 10 s. */
export async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const limit = performance.now() + 10_000
  while (!(await condition())) {
    if (performance.now() > limit) throw new Error(`Waited 10 s in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
