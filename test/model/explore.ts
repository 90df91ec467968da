import { describeSequence } from './describe.js'
import { sequenceOf } from './generate.js'
import { runSequence } from './run.js'
import { shortened } from './shorten.js'

/** What a search has found. */
export interface Explored {
  readonly sequences: number
  /** The seed of a sequence that was answered what the documentation does not allow, and what that was, for people. */
  readonly seed?: number
  readonly failure?: string
}

/**
 * A program: runs random sequences, one seed after the other, until an answer is wrong, and tells what it found as JSON.
 *
 * @param firstSeed of the first sequence
 * @param count how many sequences
 */
const [firstSeed = '1', count = '60', shorten = 'yes'] = process.argv.slice(2)
process.stdout.write(`${JSON.stringify(await explore(Number(firstSeed), Number(count)))}\n`)

async function explore(first: number, sequences: number): Promise<Explored> {
  for (let index = 0; index < sequences; index++) {
    const seed = (first + index) % 0x7fff_ffff
    const sequence = sequenceOf(seed)
    const violation = await runSequence(sequence)
    if (!violation) continue
    const shortest = shorten === 'yes' ? await shortened(sequence) : sequence
    const again = (await runSequence(shortest)) ?? violation
    const failure = `${again.message}\n  SEED=${seed} repeats it\n${describeSequence(shortest)}`
    return { sequences: index + 1, seed, failure }
  }
  return { sequences }
}
