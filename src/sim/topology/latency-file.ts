import { readFileSync, statSync } from 'node:fs';
import { invalid } from '../../base/index.js';
import { DelayMatrix, MAX_MATRIX_ROUTERS } from './delay-matrix.js';
import { Fields, type Place, wrongAt } from './latency-fields.js';
import { EdgeList, MAX_EDGE_DELAY_US, type Topology } from './topology.js';

const MAX_FILE_BYTES = 256 * 2 ** 20;
const EDGE_FIELDS = 3;

/** A file of measured latencies, or a text of its form. */
export interface Latencies {
  /** A matrix's measured pairs, or the file's edges. Hosts attach anywhere. */
  topology: Topology;
  /** Of a matrix. Undefined for edges: there delays are along shortest paths. */
  matrix: DelayMatrix | undefined;
}

interface DataLine {
  number: number;
  text: string;
}

/** What comments say of the numbers. */
class Headlines {
  private toUs = 1e3;
  private share = 1;

  /** Of a line of its own. */
  read(file: string, line: number, comment: string): void {
    const headline = /^\s*#\s*(unit|measures)\s*:\s*(\S*)/d.exec(comment);
    if (headline === null) return;
    const [, key, value] = headline;
    const place = { file, line, column: 1 + headline.indices![2][0] };
    if (key === 'unit') {
      if (value !== 'ms' && value !== 'us' && value !== 'µs') throw wrongAt(place, value, 'ms or us');
      this.toUs = value === 'ms' ? 1e3 : 1;
    } else {
      if (value !== 'one-way' && value !== 'round-trip') throw wrongAt(place, value, 'one-way or round-trip');
      this.share = value === 'one-way' ? 1 : 0.5;
    }
  }

  /** A delay in µs, whole, 1 or more. */
  delayUs(value: number, place: () => Place): number {
    const delayUs = value * this.toUs * this.share;
    if (delayUs > MAX_EDGE_DELAY_US) throw wrongAt(place(), value, `at most ${MAX_EDGE_DELAY_US / this.toUs / this.share}, which is ${MAX_EDGE_DELAY_US / 1e6} s`);
    return Math.max(1, Math.round(delayUs));
  }
}

/** Whether three lines of three fields are a matrix: it has nothing on its diagonal, where an edge's third line has a delay. */
function hasEmptyDiagonal(fields: Fields, lines: readonly DataLine[]): boolean {
  return lines.every(({ number, text }, row) => {
    fields.read(number, text);
    return fields.count > row && !(Number(fields.word(row)) > 0);
  });
}

/**
 * Reads measured latencies. `#` begins a comment; fields are apart by blanks or commas. Either
 * - a square matrix: delays between hosts as measured, whatever shorter way there might be through others. Both directions give their mean, one alone counts
 *   for both; what is 0, negative, NaN, empty or `-` was not measured: such a pair gets the least delay through one other node. The diagonal says nothing.
 * - or lines of edges `a b delay` between nodes of any names: delays are along shortest paths; an edge that comes several times gets the mean.
 *
 * Numbers are milliseconds one way, unless comments of their own say `# unit: us` or `# measures: round-trip`.
 *
 * @param file how errors call it
 * @throws ERR_FORMAT with file:line:column, or ERR_INVALID_ARGUMENT for edges that leave nodes apart
 */
export function parseLatencies(text: string, file: string, withPredecessors = false): Latencies {
  const headlines = new Headlines();
  const lines: DataLine[] = [];
  for (const [i, line] of text.replace(/^\uFEFF/, '').split('\n').entries()) {
    const comment = line.indexOf('#');
    headlines.read(file, i + 1, line);
    const data = comment < 0 ? line : line.slice(0, comment);
    if (data.trim() !== '') lines.push({ number: i + 1, text: data });
  }
  const fields = new Fields(file);
  if (lines.length === 0) throw wrongAt({ file, line: 1, column: 1 }, 'no data', 'a square matrix of delays, or lines of edges: a b delay');
  fields.read(lines[0].number, lines[0].text);
  const columns = fields.count;
  if (columns === lines.length && (columns !== EDGE_FIELDS || hasEmptyDiagonal(fields, lines))) return parseMatrix(fields, lines, headlines, file, withPredecessors);
  if (columns === EDGE_FIELDS) return parseEdges(fields, lines, headlines, file);
  throw wrongAt(fields.place(0), `${columns} fields`, `${lines.length}, for a square matrix of as many lines, or ${EDGE_FIELDS}, for edges: a b delay`);
}

function parseMatrix(fields: Fields, lines: readonly DataLine[], headlines: Headlines, file: string, withPredecessors: boolean): Latencies {
  const nodes = lines.length;
  if (nodes < 2 || nodes > MAX_MATRIX_ROUTERS) throw wrongAt(fields.place(0), `${nodes} nodes`, `from 2 to ${MAX_MATRIX_ROUTERS} nodes`);
  const matrix = DelayMatrix.make(nodes, withPredecessors);
  const { delaysUs } = matrix;
  for (const [row, { number, text }] of lines.entries()) {
    fields.read(number, text);
    if (fields.count !== nodes) throw wrongAt(fields.place(Math.min(fields.count, nodes)), `${fields.count} fields`, `${nodes}, as the matrix has ${nodes} lines`);
    for (let column = 0; column < nodes; column++) {
      const value = fields.number(column);
      // 0: not measured.
      if (column !== row && value > 0) delaysUs[row * nodes + column] = headlines.delayUs(value, () => fields.place(column));
    }
  }
  const unknown: number[] = [];
  const present = new Int32Array(nodes + 1).fill(nodes - 1, 1);
  for (let a = 0; a < nodes; a++) {
    for (let b = a + 1; b < nodes; b++) {
      const there = delaysUs[a * nodes + b];
      const back = delaysUs[b * nodes + a];
      const delayUs = there > 0 && back > 0 ? Math.round((there + back) / 2) : there + back;
      delaysUs[a * nodes + b] = delaysUs[b * nodes + a] = delayUs;
      if (delayUs > 0) continue;
      unknown.push(a, b);
      present[a + 1]--;
      present[b + 1]--;
    }
  }
  const topology = meshOf(matrix, present, `latencies of ${file}, ${nodes} nodes`);
  matrix.predecessors?.forEach((_, i, predecessors) => (predecessors[i] = Math.floor(i / nodes)));
  fillFrom(matrix, unknown, (a) => ({ file, line: lines[a].number, column: 1 }));
  return { topology, matrix };
}

/** The measured pairs, as edges; `offsets` has each node's number of them, one place on. */
function meshOf({ routers, delaysUs }: DelayMatrix, offsets: Int32Array, name: string): Topology {
  for (let node = 0; node < routers; node++) offsets[node + 1] += offsets[node];
  const targets = new Int32Array(offsets[routers]);
  const edgesUs = new Float32Array(offsets[routers]);
  for (let a = 0, edge = 0; a < routers; a++) {
    for (let b = 0; b < routers; b++) {
      if (delaysUs[a * routers + b] === 0) continue;
      targets[edge] = b;
      edgesUs[edge++] = delaysUs[a * routers + b];
    }
  }
  return { name, routers, offsets, targets, delaysUs: edgesUs, attachable: Int32Array.from({ length: routers }, (_, node) => node) };
}

/** Gives each of the pairs the least delay through one other node, by what was measured alone. */
function fillFrom({ routers, delaysUs, predecessors }: DelayMatrix, pairs: readonly number[], placeOf: (node: number) => Place): void {
  const detoursUs = new Float32Array(pairs.length / 2).fill(Infinity);
  for (let pair = 0; pair < detoursUs.length; pair++) {
    const [a, b] = [pairs[2 * pair] * routers, pairs[2 * pair + 1] * routers];
    for (let through = 0; through < routers; through++) {
      const [first, second] = [delaysUs[a + through], delaysUs[b + through]];
      if (first === 0 || second === 0 || first + second >= detoursUs[pair]) continue;
      detoursUs[pair] = first + second;
      if (predecessors !== undefined) predecessors[a + pairs[2 * pair + 1]] = predecessors[b + pairs[2 * pair]] = through;
    }
    if (detoursUs[pair] === Infinity) {
      throw wrongAt(placeOf(pairs[2 * pair]), `no delay between nodes ${pairs[2 * pair] + 1} and ${pairs[2 * pair + 1] + 1}`, 'known, or known to and from one other node');
    }
  }
  for (const [pair, detourUs] of detoursUs.entries()) {
    const [a, b] = [pairs[2 * pair], pairs[2 * pair + 1]];
    delaysUs[a * routers + b] = delaysUs[b * routers + a] = detourUs;
  }
}

function parseEdges(fields: Fields, lines: readonly DataLine[], headlines: Headlines, file: string): Latencies {
  const nodes = new Map<string, number>();
  const found = new Map<number, { a: number; b: number; sumUs: number; times: number }>();
  const nodeOf = (field: number): number => {
    const name = fields.word(field);
    const node = nodes.get(name);
    if (node !== undefined) return node;
    if (name === '') throw wrongAt(fields.place(field), '', 'the name of a node');
    if (nodes.size === MAX_MATRIX_ROUTERS) throw wrongAt(fields.place(field), name, `one of the ${MAX_MATRIX_ROUTERS} nodes before it: more are too many`);
    nodes.set(name, nodes.size);
    return nodes.size - 1;
  };
  for (const { number, text } of lines) {
    fields.read(number, text);
    if (fields.count !== EDGE_FIELDS) throw wrongAt(fields.place(Math.min(fields.count, EDGE_FIELDS)), `${fields.count} fields`, `${EDGE_FIELDS}: a b delay`);
    const a = nodeOf(0);
    const b = nodeOf(1);
    if (a === b) throw wrongAt(fields.place(1), fields.word(1), 'another node than the one before it');
    const value = fields.number(2);
    if (!(value >= 0)) throw wrongAt(fields.place(2), fields.word(2), 'a delay, 0 or more');
    const delayUs = headlines.delayUs(value, () => fields.place(2));
    const key = Math.min(a, b) * MAX_MATRIX_ROUTERS + Math.max(a, b);
    const edge = found.get(key);
    if (edge === undefined) {
      found.set(key, { a, b, sumUs: delayUs, times: 1 });
    } else {
      edge.sumUs += delayUs;
      edge.times++;
    }
  }
  const edges = new EdgeList(nodes.size);
  for (const { a, b, sumUs, times } of found.values()) edges.add(a, b, sumUs / times);
  const name = `edges of ${file}, ${nodes.size} nodes`;
  return { topology: edges.build(name, Int32Array.from({ length: nodes.size }, (_, node) => node)), matrix: undefined };
}

/** parseLatencies() on a file. Throws ERR_INVALID_ARGUMENT, too, for one that can't be read or is longer than 256 MiB. */
export function readLatencies(path: string, withPredecessors = false): Latencies {
  let text: string;
  try {
    const found = statSync(path);
    // Nobody could interrupt the wait for a pipe that nobody writes to, and a device has no end.
    if (!found.isFile()) throw invalid('latencies', path, 'a regular file');
    const { size } = found;
    if (size > MAX_FILE_BYTES) throw invalid('latencies', `${path}, ${size} bytes`, `a file of at most ${MAX_FILE_BYTES} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'ERR_INVALID_ARGUMENT' ? error : invalid('latencies', path, `a file that can be read (${code ?? String(error)})`);
  }
  return parseLatencies(text, path, withPredecessors);
}
