import { describe, expect, test } from '@jest/globals'
import { LogDestination, type WriteBytes } from '../../../src/kernel/observability/log-destination.js'
import { settle } from '../../support/gate.js'
import { until } from '../../support/until.js'

const line = (n: number) => `{"n":${n}}\n`

/** A file that takes as much of each write as `takes` says; 0 is a full disk. */
class Disk {
  text = ''
  takes = Number.POSITIVE_INFINITY
  readonly write: WriteBytes = (bytes, done) => {
    setImmediate(() => {
      const error = this.takes === 0 ? Object.assign(new Error('no space'), { code: 'ENOSPC' }) : null
      const taken = bytes.subarray(0, this.takes)
      this.text += taken.toString()
      done(error, taken.length)
    })
  }
}

describe('log lines', () => {
  test('are written in order and whole, however few bytes a write takes', async () => {
    const disk = new Disk()
    const log = new LogDestination(disk.write)
    disk.takes = 3
    for (let n = 0; n < 100; n++) log.write(line(n))
    await log.flush(10_000)
    expect(disk.text).toBe(Array.from({ length: 100 }, (_, n) => line(n)).join(''))
  })

  test('wait while the disk is full, each is written once after that, and none is torn', async () => {
    const disk = new Disk()
    const log = new LogDestination(disk.write)
    disk.takes = 4
    log.write(line(1))
    await until('a part is written', () => disk.text.length > 0)
    disk.takes = 0
    log.write(line(2))
    await log.flush(50)
    expect(disk.text).not.toContain(line(2))
    disk.takes = Number.POSITIVE_INFINITY
    await until('the rest is written', () => disk.text.endsWith(line(2)))
    expect(disk.text).toBe(line(1) + line(2))
  })

  test('beyond what may wait are dropped, and how many is reported once when lines are written again', async () => {
    const disk = new Disk()
    const log = new LogDestination(disk.write)
    log.onRecovery = (dropped) => log.write(`dropped ${dropped}\n`)
    disk.takes = 0
    const long = `${'x'.repeat(99_999)}\n`
    const total = 200
    for (let n = 0; n < total; n++) log.write(long)
    disk.takes = Number.POSITIVE_INFINITY
    await until('the loss is reported', () => disk.text.includes('dropped'))
    await log.flush(10_000)
    const lines = disk.text.trimEnd().split('\n')
    const kept = lines.filter((text) => text.startsWith('x')).length
    expect(kept).toBeLessThan(50)
    expect(lines.filter((text) => text.startsWith('dropped'))).toEqual([`dropped ${total - kept}`])
  })

  test('that were dropped are reported once there is room again, and not with every write of a slow destination', async () => {
    let finish = (): void => {}
    const log = new LogDestination((bytes, done) => {
      finish = () => done(null, bytes.length)
    })
    const reports: number[] = []
    log.onRecovery = (dropped) => reports.push(dropped)
    for (let n = 0; n < 200; n++) log.write('x'.repeat(100_000))
    let isFlushed = false
    void log.flush(3_000).then(() => {
      isFlushed = true
    })
    finish()
    expect(reports).toEqual([])
    for (let n = 0; n < 100; n++) finish()
    expect(reports).toHaveLength(1)
    await settle()
    expect(isFlushed).toBe(true)
  })

  test('that are all written hold up no flush', async () => {
    const log = new LogDestination(() => {})
    const flushing = log.flush(3_000).then(() => 'flushed')
    expect(await Promise.race([flushing, settle().then(() => 'still waits')])).toBe('flushed')
  })

  test('that can never be written hold up no flush for longer than it allows', async () => {
    const log = new LogDestination(() => {})
    log.write(line(1))
    await log.flush(10)
  })
})
