/** Runs one member of an entrant: `member-process.js MODULE EXPORT SETTINGS`, told by its parent what to do. */
import type { EntrantSettings } from './entrant.js'
import type { OpenMember } from './members.js'

const [module = '', name = '', settings = '{}'] = process.argv.slice(2)
// What a member leaves open ends with it: its servers are private, and nobody else counts on a farewell.
process.on('disconnect', () => process.exit(0))
const open = ((await import(module)) as Record<string, OpenMember>)[name]
if (!open) throw new Error(`${module} exports no ${name}`)
const member = await open(JSON.parse(settings) as EntrantSettings)

process.on('message', async (message) => {
  const { name, argument } = message as { name: string; argument: number }
  try {
    const call = member[name]
    if (!call) throw new Error(`This member cannot ${name}`)
    process.send?.({ result: await call(argument) })
  } catch (error) {
    process.send?.({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
})
process.send?.({ result: 'ready' })
