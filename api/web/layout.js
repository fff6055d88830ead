// Places for the nodes of a small graph: forces on a circle to start with, the same picture for the same graph.

const STEPS = 240;
const REACH = 1.6; // of the repulsion, in lengths of an edge

/** Points {x, y} within 0 … 1 for `nodes` (each has a key; the first stays in the middle). `edges` join keys. */
export function layout(nodes, edges) {
  const at = new Map(nodes.map((node, index) => [node.key, index]));
  const points = nodes.map((node, index) => {
    const turn = (2 * Math.PI * index) / Math.max(nodes.length - 1, 1);
    const ring = index === 0 ? 0 : node.hops === 1 ? 1 : 1.6;
    return { x: ring * Math.cos(turn), y: ring * Math.sin(turn) };
  });
  const joined = edges.map((edge) => [at.get(edge.source), at.get(edge.target), edge.weight]).filter(([a, b]) => a !== b);
  const length = 1 / Math.sqrt(Math.max(nodes.length, 1));
  for (let step = 0; step < STEPS; step += 1) {
    const moves = points.map(() => ({ x: 0, y: 0 }));
    const push = (a, b, force) => {
      const x = points[a].x - points[b].x;
      const y = points[a].y - points[b].y;
      const distance = Math.max(Math.hypot(x, y), 1e-3);
      const by = force(distance) / distance;
      moves[a].x += x * by;
      moves[a].y += y * by;
      moves[b].x -= x * by;
      moves[b].y -= y * by;
    };
    for (let a = 0; a < points.length; a += 1) {
      for (let b = a + 1; b < points.length; b += 1) push(a, b, (distance) => (REACH * length) ** 2 / distance);
    }
    for (const [a, b, weight] of joined) push(a, b, (distance) => (-(distance ** 2) / length) * (0.3 + 0.7 * weight));
    const most = 0.2 * (1 - step / STEPS);
    points.forEach((point, index) => {
      if (index === 0) return;
      const far = Math.max(Math.hypot(moves[index].x, moves[index].y), 1e-9);
      point.x += (moves[index].x / far) * Math.min(far, most);
      point.y += (moves[index].y / far) * Math.min(far, most);
    });
  }
  return fitted(points);
}

/** The same, stretched to the sides. */
function fitted(points) {
  const sides = (name) => {
    const values = points.map((point) => point[name]);
    const low = Math.min(...values);
    return [low, Math.max(Math.max(...values) - low, 1e-9)];
  };
  const [left, width] = sides("x");
  const [top, height] = sides("y");
  const alone = points.length === 1;
  return points.map((point) => (alone ? { x: 0.5, y: 0.5 } : { x: (point.x - left) / width, y: (point.y - top) / height }));
}
