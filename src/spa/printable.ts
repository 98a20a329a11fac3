/** Text of a stranger's on one line, with nothing in it that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}
