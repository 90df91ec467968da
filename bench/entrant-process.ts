/**
 * Runs one entrant: `entrant-process.js MODULE EXPORT SETTINGS`, told by its parent when a round is due. A process for
 * each, as in one process the code paths of all would be compiled for all, and one heap collected for all.
 */
import type { EntrantSettings, OpenEntrant } from './entrant.js'

const [module = '', name = '', settings = '{}'] = process.argv.slice(2)
const entrant = await openerIn((await import(module)) as Record<string, OpenEntrant>)(
  JSON.parse(settings) as EntrantSettings,
)

function openerIn(exported: Record<string, OpenEntrant>): OpenEntrant {
  const open = exported[name]
  if (!open) throw new Error(`${module} exports no ${name}`)
  return open
}

process.on('message', async (message) => {
  try {
    if (message === 'close') {
      await entrant.close()
      process.disconnect?.()
      // What a peer leaves open is not to keep a benchmark from ending.
      setTimeout(() => process.exit(0), 500).unref()
      return
    }
    process.send?.({ sample: await entrant.round() })
  } catch (error) {
    process.send?.({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
})
process.on('disconnect', () => setTimeout(() => process.exit(0), 1_000).unref())
process.send?.({ ready: true })
