import { TEST_PROJECT } from './containers.js'
import { lastLogLines } from './last-log-lines.js'

/** The part of Jest's result of one test that the reporter looks at. */
interface TestCaseResult {
  readonly fullName: string
  readonly status: string
  readonly startedAt?: number | null
}

/** A reporter for Jest. When a test has failed, it prints what the containers have logged since the test started. */
export default class FailureReporter {
  onTestCaseResult(_test: unknown, { fullName, status, startedAt }: TestCaseResult): void {
    const project = process.env[TEST_PROJECT]
    if (status !== 'failed' || !project) return
    process.stderr.write(`\n✕ ${fullName}\nThe last log lines of each container since this test started:\n`)
    process.stderr.write(`${lastLogLines(project, startedAt ?? 0)}\n`)
  }
}
