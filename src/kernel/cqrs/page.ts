import { z } from 'zod'

/** How many items a page has if nobody chooses. */
export const usualPageLimit = 100

/** How many items of a page a query asks for. */
export const PageLimit = z.number().int().min(1).max(1_000)

/** The same in the query string of a URL. */
export const PageLimitParameter = z.coerce.number().pipe(PageLimit).default(usualPageLimit)

/** One page as clients see it; `next` is the `after` of the following page. */
export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next: z.string().optional() })
}

/** The most bytes of JSON that the items of one page may have, unless a single item has more. */
const pageBytes = 524_288

export interface Page<Item> {
  readonly items: Item[]
  /** The `after` of the following page; absent on the last. */
  readonly next?: string
}

/**
 * Makes the answer of a list query: at most `limit` items, as many of them as fit into 512 KiB, but at least one if there is
 * one. The service holds a page in memory for every client that is reading it, so its size must not depend on what rows
 * contain.
 *
 * @param found the rows of the page, and one more if another page follows
 * @param cursorOf returns the `after` of the page that follows an item
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
