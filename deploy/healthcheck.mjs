/** `node healthcheck.mjs PATH` exits with 0 if the node in this container answers with success. The image has no curl. */
const [path = '/health/live'] = process.argv.slice(2)
try {
  const { ok } = await fetch(`http://127.0.0.1:${process.env.PORT}${path}`, {
    signal: AbortSignal.timeout(4_000),
  })
  process.exit(ok ? 0 : 1)
} catch (error) {
  console.error(error.message)
  process.exit(1)
}
