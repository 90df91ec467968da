import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const isFile = (path: string): boolean => existsSync(join(root, path)) && statSync(join(root, path)).isFile()

/** A block of code in a document, or in a comment of a source file. */
export interface CodeBlock {
  readonly document: string
  /** The line of the opening fence; the first line of the document is 1. */
  readonly line: number
  /** What precedes each line of the block: indentation, and in a comment ` * `. */
  readonly prefix: string
  /** What follows the opening fence: the language, and where the code is from. */
  readonly info: string
  readonly code: readonly string[]
}

/** A line of a block that stands for one or more lines of the source that the block leaves out. */
const leftOut = '// …'

const help = `After the fence comes the language, and then what keeps the block true:
  \`\`\`ts from src/modules/users/queries/get-user.ts    the whole file without its imports
  \`\`\`ts from test/samples/products.ts#A,B             these declarations of the file
  \`\`\`http tested by test/unit/x.test.ts "title"       a test of this title, which reads the block
  \`\`\`text output of npm run chaos                     what a command has printed
  \`\`\`sh                                               commands; each must exist
  \`\`\`mermaid                                          a diagram
A line "// …" stands for lines of the source that are left out. Update blocks from their sources with
  npm run samples`

/** @param name how messages call the document */
export function codeBlocksOf(name: string, text = read(name)): CodeBlock[] {
  const isSource = name.endsWith('.ts')
  const lines = text.split('\n')
  const blocks: CodeBlock[] = []
  for (let index = 0; index < lines.length; index++) {
    const [, prefix = '', fence = '', info = ''] =
      /^( *(?:\* |> )?)(`{3,}|~{3,})(.*)$/.exec(lines[index] ?? '') ?? []
    // Markdown takes what is indented after an empty line for code, too. Such a block can say nothing of its source.
    if (!isSource && /^ {4,}\S/.test(lines[index] ?? '') && !lines[index - 1])
      blocks.push({ document: name, line: index + 1, prefix: '', info: '', code: [] })
    if (!fence || (isSource && !prefix.includes('*'))) continue
    const line = index + 1
    const code: string[] = []
    const withoutPrefix = (text = '') => text.slice(Math.min(prefix.length, text.length))
    while (++index < lines.length && !withoutPrefix(lines[index]).startsWith(fence))
      code.push(withoutPrefix(lines[index]))
    blocks.push({ document: name, line, prefix, info: info.trim(), code })
  }
  return blocks
}

/** What is wrong with a block, and what to do; undefined if it is true. */
export function problemOf(block: CodeBlock): string | undefined {
  const problem = wrongWith(block)
  return problem && `${block.document}:${block.line}: ${problem}\n${help}`
}

function wrongWith({ document, info, code }: CodeBlock): string | undefined {
  const [language = '', marker = ''] = splitAt(info, ' ')
  if (language === 'mermaid' && !marker) return undefined
  if (language === 'sh' && !marker) return firstProblem(commandsIn(code).map(problemOfCommand))
  const [, origin] = /^from (\S+)$/.exec(marker) ?? []
  if (origin) return differenceFrom(origin, code)
  const [, command] = /^output of (.+)$/.exec(marker) ?? []
  if (command) return problemOfCommand(command)
  const [, test = '', title = ''] = /^tested by (\S+\.test\.ts) "(.+)"$/.exec(marker) ?? []
  if (!test) return 'nothing says what keeps this block true'
  if (!isFile(test)) return `there is no file ${test}`
  const source = read(test)
  if (!source.includes(title)) return `${test} has no test "${title}"`
  return source.includes(document) ? undefined : `${test} does not read ${document}`
}

/** The code that a block with `from` should have; undefined if that cannot be known. */
export function originalOf({ info, code, prefix }: CodeBlock): readonly string[] | undefined {
  const [, origin] = /^\S+ from (\S+)$/.exec(info) ?? []
  if (!origin || code.some(isLeftOut)) return undefined
  const original = excerpt(origin)
  if (typeof original === 'string') return undefined
  // It would end the comment that the block stands in.
  if (prefix.includes('*') && original.some((line) => line.includes('*/'))) return undefined
  return original
}

/** The lines of `file`, or of `file#A,B`; a text says why there are none. */
function excerpt(origin: string): readonly string[] | string {
  const [file = '', symbols] = splitAt(origin, '#')
  if (!isFile(file)) return `there is no file ${file}`
  const paragraphs = paragraphsOf(read(file))
  if (symbols === undefined) return paragraphs.join('\n\n').split('\n')
  const found: string[] = []
  for (const symbol of symbols.split(',')) {
    const declaration = paragraphs.find((paragraph) => declares(paragraph, symbol))
    if (declaration === undefined) return `${file} declares no ${symbol}`
    if (!found.includes(declaration)) found.push(declaration)
  }
  return found.join('\n\n').split('\n')
}

/**
 * The declarations of a file with their decorators and comments, without imports. As the formatter leaves it, a blank line
 * followed by one without indentation separates declarations.
 */
function paragraphsOf(source: string): string[] {
  return source
    .replaceAll(/^import (?:[^'"]*? from )?'[^']+'\n/gm, '')
    .trim()
    .split(/\n\n(?=[^\s)\]}])/)
}

function declares(paragraph: string, symbol: string): boolean {
  const declaration = `^(?:export )?(?:default |abstract |async |declare )*(?:class|function\\*?|const|let|interface|type|enum) ${symbol}\\b`
  return /^\w+$/.test(symbol) && new RegExp(declaration, 'm').test(paragraph)
}

const isLeftOut = (line: string): boolean => line.trim() === leftOut

function differenceFrom(origin: string, code: readonly string[]): string | undefined {
  const original = excerpt(origin)
  if (typeof original === 'string') return original
  if (matches(code, original)) return undefined
  const fits = (lines: readonly string[]) =>
    matches(lines, original) || matches([...lines, leftOut], original)
  const first = code.findIndex((_, index) => !fits(code.slice(0, index + 1)))
  if (first < 0) return `ends before ${origin} does`
  return `differs from ${origin} at the line ${JSON.stringify(code[first])}`
}

/** Whether the lines are those of the original, where each `// …` stands for at least one line. */
function matches(lines: readonly string[], original: readonly string[]): boolean {
  const [line, ...rest] = lines
  if (line === undefined) return original.length === 0
  if (!isLeftOut(line)) return line === original[0] && matches(rest, original.slice(1))
  for (let length = 1; length <= original.length; length++)
    if (matches(rest, original.slice(length))) return true
  return false
}

/** The commands of a shell script, without comments. */
function commandsIn(code: readonly string[]): string[] {
  return code
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ')
    .replaceAll(/(?:^|\s)# .*$/gm, '')
    .split(/\n|&&|\|\||[;|]/)
    .map((command) => command.trim())
    .filter((command) => command !== '')
}

/** Programs that are not part of this repository. */
const programs = ['apt-get', 'brew', 'curl', 'git', 'psql']

/** What of a command does not exist: the program, the npm script, an option or argument of the script, or a file. */
export function problemOfCommand(command: string): string | undefined {
  const words = (command.match(/"[^"]*"|'[^']*'|\S+/g) ?? []).filter((word) => !/^[A-Z_]+=/.test(word))
  const [program = '', ...args] = words
  const missing = args.find((word) => /^[\w.-]+(?:\/[\w.-]+)+\.\w+$/.test(word) && !isFile(word))
  if (missing) return `there is no file ${missing}`
  if (program === 'npm') return problemOfNpm(args.filter((word) => word !== '-s'))
  if (program === 'docker') {
    if (args[0] !== 'compose') return `"${command}" is not docker compose`
    return isFile('docker-compose.yml') ? undefined : 'there is no docker-compose.yml'
  }
  if (program === 'node') return args.some((word) => isFile(word)) ? undefined : `"${command}" runs no file`
  return programs.includes(program)
    ? undefined
    : `the program "${program}" is unknown: see test/support/code-blocks.ts`
}

function problemOfNpm([verb = '', ...words]: string[]): string | undefined {
  if (['ci', 'cit', 'install'].includes(verb)) return undefined
  const script = verb === 'run' ? words.shift() : verb
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const run = scripts[script ?? '']
  if (run === undefined) return `package.json has no script "${script}"`
  // The sources of the script's own program know its options and what it can be asked for.
  const [, folder] = /(?:dist\/)?((?:tools|bench)\/(?:\w+\/)*)[\w-]+\.m?js/.exec(run) ?? []
  if (!folder || folder === 'tools/') return undefined
  const sources = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|mjs)$/.test(name) && !name.includes('node_modules'))
    .map((name) => read(join(folder, name)))
  const unknown = words
    .slice(words.indexOf('--') + 1)
    .filter((word) => /^(?:--)?[a-z][\w-]*$/.test(word))
    .find((word) => {
      const known = new RegExp(
        word.startsWith('--') ? `${word}\\b|\\b${word.slice(2)}: \\{` : `\\b${word}\\b`,
      )
      return !sources.some((source) => known.test(source))
    })
  return unknown && `"${script}" does not know ${unknown}`
}

/** Commands of npm within a text, as in `npm run dev`. */
export function inlineCommandsOf(document: string): string[] {
  return [...read(document).matchAll(/`(npm (?:run |test|start|ci)[^`]*)`/g)].map(
    ([, command = '']) => command,
  )
}

function firstProblem(problems: readonly (string | undefined)[]): string | undefined {
  return problems.find((problem) => problem !== undefined)
}

function splitAt(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)]
}
