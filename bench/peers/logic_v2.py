"""Scores pairs of names by nomenklatura's logic-v2; run by bench/screening.py in an environment of its own.

Standard input: JSON list of [schema, name, name]. Standard output: JSON list of scores.
"""

import json
import sys

from followthemoney import model
from nomenklatura.matching import get_algorithm


def main() -> None:
    algorithm = get_algorithm("logic-v2")
    config = algorithm.default_config()
    scores = []
    for number, (schema, first, second) in enumerate(json.load(sys.stdin)):
        pair = []
        for side, name in (("a", first), ("b", second)):
            entity = model.make_entity(schema)
            entity.id = f"{side}-{number}"
            entity.add("name", name)
            pair.append(entity)
        scores.append(algorithm.compare(*pair, config).score)
    json.dump(scores, sys.stdout)


if __name__ == "__main__":
    main()
