"use strict";

/* Numbers as text. A scale {exponent, decimals} says how: value / 10^exponent with so many decimals. */
{
  const MORE = 3; // decimals in a sum, beyond those in a map
  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const power = (exponent) => Number(`1e${exponent}`);

  function fixed(value, { exponent, decimals }, more) {
    if (value === null) return "none"; // NaN or infinity
    if (value === 0) return "0";
    const text = (value / power(exponent)).toFixed(decimals + more);
    return Number(text) === 0 ? text.replace("-", "") : text;
  }

  /** As in a map. */
  const short = (value, scale) => fixed(value, scale, 0);

  /** As in a sum. */
  const long = (value, scale) => fixed(value, scale, MORE);

  /** " × 10⁻³", or nothing for the exponent 0 */
  function times({ exponent }) {
    return exponent === 0 ? "" : ` × 10${[...String(exponent)].map((sign) => RAISED[sign]).join("")}`;
  }

  /** What the terms as they are shown lack of the sum as it is shown, in the same form; "" if nothing.

      Each number is rounded by at most half a unit of its last place. More than that is no rounding, and is not made up
      for. */
  function lacking(terms, sum, scale) {
    const whole = (value) => Math.round(Number(long(value, scale)) * 10 ** (scale.decimals + MORE));
    const left = whole(sum) - terms.reduce((total, term) => total + whole(term), 0);
    if (left === 0 || !(Math.abs(left) <= (terms.length + 1) / 2)) return "";
    return (left / 10 ** (scale.decimals + MORE)).toFixed(scale.decimals + MORE);
  }

  const many = (n, noun) => `${n} ${n === 1 ? noun : noun.replace(/ch$/, "che")}${n === 1 ? "" : "s"}`;

  Object.assign(explain, { short, long, times, lacking, many });
}
