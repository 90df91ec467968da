/** Bytes of JSON that the items of one page have at most, unless a single one has more. */
const pageBytes = 524_288

export interface Page<Item> {
  readonly items: Item[]
  /** The `after` of the following page; absent on the last. */
  readonly next?: string
}

/**
 * The page that a list query answers with: `limit` items, or as many as fit into 512 KiB, and at least one. A page is held in
 * memory for every client that is reading it, and so has to have a bound that does not depend on what rows contain.
 *
 * @param found one row more than `limit` tells that another page follows
 * @param cursorOf where the page after an item begins
 */
export function pageOf<Row, Item>(
  found: readonly Row[],
  limit: number,
  viewOf: (row: Row) => Item,
  cursorOf: (item: Item) => string,
): Page<Item> {
  const items: Item[] = []
  let bytes = 0
  for (const row of found.slice(0, limit)) {
    const item = viewOf(row)
    bytes += Buffer.byteLength(JSON.stringify(item)) + 1
    if (bytes > pageBytes && items.length > 0) break
    items.push(item)
  }
  const last = items.at(-1)
  return { items, ...(last && found.length > items.length && { next: cursorOf(last) }) }
}
