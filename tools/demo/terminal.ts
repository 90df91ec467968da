import { styleText } from 'node:util'

const width = 98
const labelWidth = 10
const cellWidth = 42
const margin = '   '

export type Tone = 'good' | 'bad' | 'plain' | 'quiet'

export interface Cell {
  readonly text: string
  readonly tone: Tone
}

export interface Row {
  readonly label: string
  /** One for each side. */
  readonly cells: readonly Cell[]
}

// Checked here, because only some releases of Node make styleText respect NO_COLOR and pipes.
const coloured = process.stdout.isTTY && process.stdout.hasColors()
const paint = (format: Parameters<typeof styleText>[0], text: string) =>
  coloured ? styleText(format, text) : text

const style: Record<Tone, (text: string) => string> = {
  good: (text) => paint('green', text),
  bad: (text) => paint(['red', 'bold'], text),
  plain: (text) => text,
  quiet: (text) => paint('dim', text),
}

/** Prints at most 98 columns, in colour if the terminal and NO_COLOR allow it. */
export class Terminal {
  #busy = false

  headline(text: string): void {
    this.#line(`\n${paint(['bold', 'inverse'], ` ${text} `)}`)
  }

  title(text: string): void {
    this.#line(`\n${paint('bold', text)}`)
  }

  /** Prints what happens. */
  say(text: string): void {
    for (const line of wrap(text, width - margin.length)) this.#line((margin + line).trimEnd())
  }

  /** Prints an explanation. */
  why(text: string): void {
    for (const line of wrap(text, width - margin.length)) this.#line(margin + paint('dim', line))
  }

  table(columns: readonly string[], rows: readonly Row[]): void {
    const heads = columns.map((column) => paint(['bold', 'underline'], column) + padding(column))
    this.#line(`\n${margin}${' '.repeat(labelWidth)}${heads.join('')}`.trimEnd())
    for (const { label, cells } of rows) {
      const texts = cells.map(({ text, tone }) => style[tone](text) + padding(text))
      this.#line(`${margin}${label.padEnd(labelWidth)}${texts.join('')}`.trimEnd())
    }
  }

  /** Shows a text until the next line, on a terminal only. */
  busy(text: string): void {
    if (!process.stdout.isTTY) return
    this.#clear()
    process.stdout.write(`${margin}${paint('dim', `… ${text}`)}`)
    this.#busy = true
  }

  #line(text: string): void {
    this.#clear()
    process.stdout.write(`${text}\n`)
  }

  #clear(): void {
    if (this.#busy) process.stdout.write('\r\u001b[2K')
    this.#busy = false
  }
}

function padding(text: string): string {
  return ' '.repeat(Math.max(1, cellWidth - text.length))
}

function wrap(text: string, columns: number): string[] {
  if (text.length <= columns) return [text]
  const lines = ['']
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1) ?? ''
    if (line !== '' && line.length + 1 + word.length > columns) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}
