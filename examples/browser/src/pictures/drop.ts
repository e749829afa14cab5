/** Lets files be dropped on an element. */

export function acceptDrops(target: HTMLElement, take: (files: readonly File[]) => void): void {
  const mark = (over: boolean) => (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    target.classList.toggle('dropping', over);
  };
  target.addEventListener('dragover', mark(true));
  target.addEventListener('dragleave', mark(false));
  target.addEventListener('drop', (event) => {
    mark(false)(event);
    take(Array.from(event.dataTransfer?.files ?? []));
  });
}
