// Reads {expressions, context} from stdin, and prints each expression's value as a string, and whether it is true.
import {readFileSync} from "node:fs";
import {Evaluator, Lexer, Parser, data} from "@actions/expressions";
import {reviver} from "@actions/expressions/data/reviver";

const {expressions, context} = JSON.parse(readFileSync(0, "utf8"));
const values = JSON.parse(JSON.stringify(context), reviver);
const evaluate = (expression) => {
  const tree = new Parser(new Lexer(expression).lex().tokens, Object.keys(context), []).parse();
  return new Evaluator(tree, values).evaluate().coerceString();
};
console.log(JSON.stringify(expressions.map((text) => [evaluate(text), evaluate(`(${text}) && true || false`)])));
