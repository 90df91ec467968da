import type { Answer, User } from './client.js'
import { maxStalenessMs } from './cluster.js'

type Versioned = Pick<User, 'version'>

/**
 * Knows when each version of one user was acknowledged, and judges reads by it: an answer may lack only what
 * was committed within the bound before its request was sent.
 */
export class StalenessJudge {
  reads = 0
  /** Answers that lacked a newer write, but one within the bound. */
  oldWithinBound = 0
  readonly violations: string[] = []
  readonly #acknowledged: { version: number; at: number }[] = []

  /** A write was answered: it had been committed by then. */
  wrote(answer: Answer<Versioned>): void {
    this.#acknowledged.push({ version: answer.body.version, at: answer.arrivedAt })
  }

  read(by: string, answer: Answer<Versioned>): void {
    this.reads++
    if (answer.status !== 200) {
      this.violations.push(`${by} answered ${answer.status}: ${JSON.stringify(answer.body)}`)
      return
    }
    const { version } = answer.body
    const due = this.#acknowledged.filter(({ at }) => at <= answer.sentAt - maxStalenessMs).at(-1)
    if (due && version < due.version) {
      this.violations.push(
        `${by}: version ${version}, ${due.version} was committed ${answer.sentAt - due.at} ms before`,
      )
    } else if (version < (this.#acknowledged.filter(({ at }) => at <= answer.sentAt).at(-1)?.version ?? 0)) {
      this.oldWithinBound++
    }
  }
}
