/** The items in their order, in arrays of at most `size`. */
export function* inChunks<Item>(items: readonly Item[], size: number): Generator<readonly Item[], undefined> {
  for (let from = 0; from < items.length; from += size) {
    yield items.length <= size ? items : items.slice(from, from + size)
  }
}
