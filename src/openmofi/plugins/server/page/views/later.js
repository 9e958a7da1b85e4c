/** What the first look does not need, see `parts/later.js`. */
export { Detail } from "../parts/detail.js";
export { ExampleDialog } from "../parts/example.js";
export { Rail } from "../parts/rail.js";
export { Images } from "./chosen.js";
export { Entities } from "./entities.js";
export { Entity } from "./entity.js";
export { MapView } from "./map.js";
export { Review } from "./review/review.js";
