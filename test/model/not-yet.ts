/** What is known to be broken, and left out until it is mended. */
export const notYet = {
  /** Dependencies of cached reads in units of work inside loads. */
  unitsOfWorkInLoads: false,
  /** Dependencies of cached reads that fail inside loads. */
  caughtFailures: false,
  /** Fail-safe answers from before an `expire` that the request's token stands for. */
  tokensAfterExpire: false,
}
