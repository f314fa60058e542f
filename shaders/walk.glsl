// Walks over [D, H, W] in steps of the same number of elements, without a division a step.
#ifndef WALK_GLSL
#define WALK_GLSL

// Column, row and plane of an element; `size` is that of a row and a plane.
ivec3 placeOf(int at, ivec2 size) {
    return ivec3(at % size.x, at / size.x % size.y, at / size.x / size.y);
}

// From one place on by a number of elements, itself given as a place.
ivec3 advance(ivec3 place, ivec3 by, ivec2 size) {
    place += by;
    if (place.x >= size.x) place += ivec3(-size.x, 1, 0);
    if (place.y >= size.y) place += ivec3(0, -size.y, 1);
    return place;
}

#endif
