/** What is known to be broken, and left out until it is mended. */
export const notYet = {
  /** Dependencies of cached reads in units of work inside loads. */
  unitsOfWorkInLoads: true,
  /** Dependencies of cached reads that fail inside loads. */
  caughtFailures: true,
  /** Fail-safe answers from before an `expire` that the request's token stands for. */
  tokensAfterExpire: true,
}
